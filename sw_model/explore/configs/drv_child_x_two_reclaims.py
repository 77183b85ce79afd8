"""Two invalidations, each of which leaves a child region empty."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.driver_world import Child, PiecesWorld, Work
from sw_model.explore.world import Device, ToyMm
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    mm = ToyMm()
    dev, work = Device(mm), Work()
    w = PiecesWorld(sched, mm, dev, Child(mm, dev, work))
    sched.spawn(work.run(), "worker", daemon=True)
    w.spawn(reclaim0=mm.reclaim(), reclaim1=mm.reclaim())
    return lambda: None


CONFIG = Config(
    "drv_child_x_two_reclaims",
    "Two invalidations, each of which leaves a child region empty.",
    "driver",
    build,
    tracked=(Work,),
)
