"""A fault against a migration by the same driver, in an event that it owns."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.interval_world import OwnerWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = OwnerWorld(sched)
    return w.spawn(fault=w.dev.fault(), migrate=w.drv.migrate())


CONFIG = Config(
    "owner_migrate_x_fault",
    "A fault against a migration by the same driver, in an event that it owns.",
    "interval",
    build,
)
