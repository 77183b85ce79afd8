"""A fault that marks the page dirty, against a reclaim that holds the folio lock."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.driver_world import DirtyDriver, PiecesWorld, RmapMm
from sw_model.explore.world import Device
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    mm = RmapMm()
    dev = Device(mm)
    w = PiecesWorld(sched, mm, dev, DirtyDriver(mm, dev))
    w.spawn(fault=dev.fault(), reclaim=mm.rmap_reclaim())
    return dev.check


CONFIG = Config(
    "drv_dirty_x_reclaim",
    "A fault that marks the page dirty, against a reclaim that holds the folio lock.",
    "driver",
    build,
)
