"""One fault against a reclaim, after which the process forks."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.world import World
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = World(sched)

    async def process() -> None:
        await w.mm.reclaim()
        await w.mm.fork()

    w.spawn(fault=w.dev.fault(), process=process())
    return w.dev.check


CONFIG = Config(
    "drv_fault_x_reclaim_fork",
    "One fault against a reclaim, after which the process forks.",
    "driver",
    build,
)
