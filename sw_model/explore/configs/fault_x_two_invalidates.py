"""One fault against two reclaims."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.world import World
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = World(sched)
    w.spawn(fault=w.dev.fault(), reclaim0=w.mm.reclaim(), reclaim1=w.mm.reclaim())
    return w.dev.check


CONFIG = Config("fault_x_two_invalidates", "One fault against two reclaims.", "interval", build)
