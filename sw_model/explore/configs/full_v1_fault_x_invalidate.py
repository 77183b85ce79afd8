"""The whole stack over HMM v1: a device write that faults against MADV_DONTNEED."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.full import FullWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = FullWorld(sched, "v1")
    return w.spawn(reclaim=w.reclaim())


CONFIG = Config(
    "full_v1_fault_x_invalidate",
    "The whole stack over HMM v1: a device write that faults against MADV_DONTNEED.",
    "full",
    build,
    exhaustive=False,
    open_bug="B13",
)
