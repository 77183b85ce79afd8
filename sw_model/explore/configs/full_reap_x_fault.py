"""The whole stack: a device write that faults against the OOM reaper."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.full import FullWorld
from sw_model.oom import oom_reap_task_mm
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = FullWorld(sched)
    return w.spawn(reap=oom_reap_task_mm(w.mm))


CONFIG = Config(
    "full_reap_x_fault",
    "The whole stack: a device write that faults against the OOM reaper.",
    "full",
    build,
    exhaustive=False,
)
