"""An access in flight against the exit of the process."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.driver_world import RELEASE_OPS, PiecesWorld, ReleaseOps
from sw_model.explore.world import Device, Driver, ToyMm
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    mm = ToyMm()
    dev = Device(mm)
    w = PiecesWorld(sched, mm, dev, Driver(mm, dev), granted=True, ops=RELEASE_OPS)
    w.spawn(access=dev.access(), exit=mm.mmput())
    return dev.check


CONFIG = Config(
    "drv_access_x_exit",
    "An access in flight against the exit of the process.",
    "driver",
    build,
    tracked=(ReleaseOps,),
)
