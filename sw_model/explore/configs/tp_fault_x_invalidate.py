"""A fault of one device against one reclaim; another device has the page, both have two passes."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.interval_world import TwoPassWorld, grant
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = TwoPassWorld(sched)
    a, b = w.drivers
    grant(b)
    return w.spawn(fault=a.dev.fault(), reclaim=w.mm.reclaim())


CONFIG = Config(
    "tp_fault_x_invalidate",
    "A fault of one device against one reclaim; another device has the page, both have two passes.",
    "interval",
    build,
)
