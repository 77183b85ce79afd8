"""A fault of one device against the exit of the process, whose RELEASE has two passes."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.interval_world import TwoPassWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = TwoPassWorld(sched)
    return w.spawn(fault=w.mm.devices[0].fault(), exit=w.mm.mmput())


CONFIG = Config(
    "tp_fault_x_exit",
    "A fault of one device against the exit of the process, whose RELEASE has two passes.",
    "interval",
    build,
)
