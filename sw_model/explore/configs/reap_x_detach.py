"""The OOM reaper, which must not block, against the detach of a device."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.world import World
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = World(sched, granted=True)
    w.spawn(detach=w.drv.detach(), reap=w.mm.reap())
    return lambda: None


CONFIG = Config(
    "reap_x_detach",
    "The OOM reaper, which must not block, against the detach of a device.",
    "interval",
    build,
)
