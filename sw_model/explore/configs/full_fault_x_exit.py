"""The whole stack: a device write that faults against the exit of the process."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.full import FullWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = FullWorld(sched)
    return w.spawn(exit=w.mm.exit())


CONFIG = Config(
    "full_fault_x_exit",
    "The whole stack: a device write that faults against the exit of the process.",
    "full",
    build,
    exhaustive=False,
)
