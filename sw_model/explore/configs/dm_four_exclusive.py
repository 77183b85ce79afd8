"""Four requests for exclusive access to one page."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.dmirror_world import DmirrorWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = DmirrorWorld(sched, pages=1)
    return w.spawn(**{f"request{i}": w.exclusive() for i in range(4)})


CONFIG = Config(
    "dm_four_exclusive",
    "Four requests for exclusive access to one page.",
    "dmirror",
    build,
    exhaustive=False,
)
