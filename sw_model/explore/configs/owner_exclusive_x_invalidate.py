"""Exclusive access against one reclaim."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.interval_world import OwnerWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = OwnerWorld(sched)
    return w.spawn(exclusive=w.drv.exclusive(), reclaim=w.mm.reclaim())


CONFIG = Config(
    "owner_exclusive_x_invalidate",
    "Exclusive access against one reclaim.",
    "interval",
    build,
)
