"""Exclusive access against a migration by the same driver."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.interval_world import OwnerWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = OwnerWorld(sched)
    return w.spawn(exclusive=w.drv.exclusive(), migrate=w.drv.migrate())


CONFIG = Config(
    "owner_exclusive_x_migrate",
    "Exclusive access against a migration by the same driver.",
    "interval",
    build,
)
