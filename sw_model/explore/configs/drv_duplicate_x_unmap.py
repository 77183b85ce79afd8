"""A page is unmapped when the access to it is done and a duplicate record of its fault is left."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.driver_world import PiecesWorld, RetryDevice, RetryDriver, RetryMm
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    mm = RetryMm()
    dev = RetryDevice(mm)
    drv = RetryDriver(mm, dev)
    w = PiecesWorld(sched, mm, dev, drv)
    sched.spawn(drv.serve(), "worker", daemon=True)

    async def process() -> None:
        await dev.access()
        await mm.munmap()

    w.spawn(process=process())
    return dev.check


CONFIG = Config(
    "drv_duplicate_x_unmap",
    "A page is unmapped when the access to it is done and a duplicate record of its fault is left.",
    "driver",
    build,
)
