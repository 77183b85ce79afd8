"""An access against two invalidations that may find no memory for their command."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.driver_world import PiecesWorld, TightDriver
from sw_model.explore.world import Device, ToyMm
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    mm = ToyMm()
    dev = Device(mm)
    w = PiecesWorld(sched, mm, dev, TightDriver(mm, dev, sched), granted=True)
    w.spawn(access=dev.access(), reclaim=mm.reclaim())
    return dev.check


CONFIG = Config(
    "drv_alloc_x_access",
    "An access against two invalidations that may find no memory for their command.",
    "driver",
    build,
    exhaustive=False,
)
