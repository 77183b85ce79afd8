"""A request for exclusive access to a page while another page is thrown away."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.dmirror_world import DmirrorWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = DmirrorWorld(sched)
    return w.spawn(exclusive=w.exclusive(), dontneed=w.dontneed(1))


CONFIG = Config(
    "dm_exclusive_x_other_page",
    "A request for exclusive access to a page while another page is thrown away.",
    "dmirror",
    build,
    exhaustive=False,
)
