"""The OOM reaper, which must not block, against a fault of a device with two passes."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.interval_world import TwoPassWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = TwoPassWorld(sched, (2,))
    return w.spawn(fault=w.mm.devices[0].fault(), reap=w.mm.reap())


CONFIG = Config(
    "tp_reap_x_fault",
    "The OOM reaper, which must not block, against a fault of a device with two passes.",
    "interval",
    build,
)
