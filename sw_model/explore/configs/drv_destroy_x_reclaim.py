"""A memory region is destroyed while the page is reclaimed."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.driver_world import Mkey, RegionWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = RegionWorld(sched)
    sched.spawn(w.region.destroy(), "destroy")
    sched.spawn(w.mm.reclaim(), "reclaim")
    return lambda: None


CONFIG = Config(
    "drv_destroy_x_reclaim",
    "A memory region is destroyed while the page is reclaimed.",
    "driver",
    build,
    tracked=(Mkey,),
)
