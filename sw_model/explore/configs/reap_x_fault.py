"""The OOM reaper, which must not block, against a fault."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.world import World
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = World(sched)
    w.spawn(fault=w.dev.fault(), reap=w.mm.reap())
    return w.dev.check


CONFIG = Config(
    "reap_x_fault",
    "The OOM reaper, which must not block, against a fault.",
    "interval",
    build,
)
