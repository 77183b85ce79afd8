"""Device memory: the device uses what it took for atomic access while a neighbour allocates."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.dmirror_world import DmirrorWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = DmirrorWorld(sched, pages=1, neighbour=0, accesses_only=True)
    return w.spawn(exclusive=w.exclusive(), dontneed=w.dontneed(), neighbour=w.neighbour_stores())


CONFIG = Config(
    "dm_exclusive_foreign",
    "As dm_exclusive_x_dontneed, but only the accesses of the device are judged.",
    "dmirror",
    build,
    exhaustive=False,
)
