"""A fault whose page is mapped in the IOMMU, against a reclaim."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.driver_world import IommuDevice, IommuDriver, PiecesWorld
from sw_model.explore.world import ToyMm
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    mm = ToyMm()
    dev = IommuDevice(mm)
    w = PiecesWorld(sched, mm, dev, IommuDriver(mm, dev))
    w.spawn(fault=dev.fault(), reclaim=mm.reclaim())
    return dev.check


CONFIG = Config(
    "drv_iommu_x_reclaim",
    "A fault whose page is mapped in the IOMMU, against a reclaim.",
    "driver",
    build,
)
