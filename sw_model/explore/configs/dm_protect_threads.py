"""Up to 4 operations while another thread makes the pages read-only and writable again."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.dmirror_world import EVERYTHING, DmirrorWorld, Guarded
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = DmirrorWorld(sched)
    return w.spawn(operations=Guarded(w, EVERYTHING, 4, 0).run(), protect=w.protect())


CONFIG = Config(
    "dm_protect_threads",
    "Up to 4 operations while another thread makes the pages read-only and writable again.",
    "dmirror",
    build,
    exhaustive=False,
)
