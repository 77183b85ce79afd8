"""One fault against the exit of the process; the device stays attached."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.world import World
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = World(sched)
    w.spawn(fault=w.dev.fault(), exit=w.mm.mmput())
    return w.dev.check


CONFIG = Config(
    "fault_x_exit", "One fault against the exit of the process; the device stays attached.", "interval", build
)
