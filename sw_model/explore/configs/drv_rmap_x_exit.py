"""Reclaim of a page found by its reverse map, against the exit of the process."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.driver_world import PiecesWorld, RmapMm
from sw_model.explore.world import Device, Driver
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    mm = RmapMm()
    dev = Device(mm)
    w = PiecesWorld(sched, mm, dev, Driver(mm, dev), granted=True)
    w.spawn(reclaim=mm.rmap_reclaim(), exit=mm.mmput())
    return dev.check


CONFIG = Config(
    "drv_rmap_x_exit",
    "Reclaim of a page found by its reverse map, against the exit of the process.",
    "driver",
    build,
)
