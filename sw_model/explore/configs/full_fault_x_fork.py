"""The whole stack: a device write that faults against fork."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.full import FullWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = FullWorld(sched)
    return w.spawn(fork=w.fork())


CONFIG = Config(
    "full_fault_x_fork",
    "The whole stack: a device write that faults against fork.",
    "full",
    build,
    exhaustive=False,
)
