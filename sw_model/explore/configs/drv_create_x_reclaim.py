"""A memory region is created while the page is reclaimed."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.driver_world import Mkey, RegionWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = RegionWorld(sched, created=False)
    sched.spawn(w.region.create(), "create")
    sched.spawn(w.mm.reclaim(), "reclaim")
    return lambda: None


CONFIG = Config(
    "drv_create_x_reclaim",
    "A memory region is created while the page is reclaimed.",
    "driver",
    build,
    tracked=(Mkey,),
)
