"""Device memory: make_device_exclusive() against MADV_DONTNEED of the page."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.dmirror_world import DmirrorWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = DmirrorWorld(sched, pages=1, neighbour=0)
    return w.spawn(exclusive=w.exclusive(), dontneed=w.dontneed(), neighbour=w.neighbour_stores())


CONFIG = Config(
    "dm_exclusive_x_dontneed",
    "The device takes a page for atomic access while the process throws it away; a neighbour allocates.",
    "dmirror",
    build,
    exhaustive=False,
)
