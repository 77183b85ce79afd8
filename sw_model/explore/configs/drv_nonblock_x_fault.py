"""The OOM reaper's non-blocking zap, then an exit of its own, against a fault."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.driver_world import reap
from sw_model.explore.world import World
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = World(sched, granted=True)
    w.spawn(fault=w.dev.fault(), reap=reap(w.mm))
    return w.dev.check


CONFIG = Config(
    "drv_nonblock_x_fault",
    "The OOM reaper's non-blocking zap, then an exit of its own, against a fault.",
    "driver",
    build,
)
