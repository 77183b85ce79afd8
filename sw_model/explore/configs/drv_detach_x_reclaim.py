"""The detach of a process whose page the device has, against a reclaim and an access."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.world import World
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = World(sched, granted=True)
    w.spawn(detach=w.drv.detach(), reclaim=w.mm.reclaim())
    return w.dev.check


CONFIG = Config(
    "drv_detach_x_reclaim",
    "The detach of a process whose page the device has, against a reclaim and an access.",
    "driver",
    build,
)
