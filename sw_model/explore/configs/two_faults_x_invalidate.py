"""Two fault services (without mmget and flush) against one reclaim."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.world import World
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = World(sched)
    w.spawn(fault0=w.drv.service(w.mm), fault1=w.drv.service(w.mm), reclaim=w.mm.reclaim())
    return w.dev.check


CONFIG = Config(
    "two_faults_x_invalidate",
    "Two fault services (without mmget and flush) against one reclaim.",
    "interval",
    build,
)
