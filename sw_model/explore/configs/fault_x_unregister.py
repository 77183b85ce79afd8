"""One fault against the detach of the process, which frees the notifier."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.world import World
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = World(sched)
    w.spawn(fault=w.dev.fault(), detach=w.drv.detach())
    return w.dev.check


CONFIG = Config(
    "fault_x_unregister",
    "One fault against the detach of the process, which frees the notifier.",
    "interval",
    build,
)
