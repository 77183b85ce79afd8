"""A device attaches and faults while the process exits."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.interval_world import LateWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = LateWorld(sched)
    return w.spawn(attach=w.attach_and_fault(), exit=w.mm.mmput())


CONFIG = Config(
    "insert_x_exit",
    "A device attaches and faults while the process exits.",
    "interval",
    build,
)
