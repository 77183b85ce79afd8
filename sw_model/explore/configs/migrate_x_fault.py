"""One fault against the migration of the page."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.world import World
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = World(sched)
    w.spawn(fault=w.dev.fault(), migrate=w.mm.migrate())
    return w.dev.check


CONFIG = Config("migrate_x_fault", "One fault against the migration of the page.", "interval", build)
