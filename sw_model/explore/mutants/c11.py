"""C11: the page is mapped in the IOMMU before the lock is taken and the section checked."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.driver_world import IommuDriver
from sw_model.explore.world import FILL


async def attempt(self: Any, mm: Any, seq: int) -> bool:
    """Map, lock, check; unmapped again when stale."""
    await mm.mmap_lock.down_read()
    ret, pfn, write = await self.walk(mm, seq)
    mm.mmap_lock.up_read()
    if ret:
        return False
    self.dev.dma_map(pfn)
    await self.lock.lock()
    stale = await self.retry(seq)
    if stale:
        self.dev.dma_unmap()
    else:
        self.granted = True
        self.dev.post(FILL, pfn, write, None)
    self.lock.unlock()
    return not stale


MUTANT = Mutant(
    "c11",
    "for a moment the IOMMU lets the device through to a page that has been freed",
    "drivers/gpu/drm/amd/amdkfd/kfd_svm.c:svm_range_validate_and_map (reading)",
    "drv_iommu_x_reclaim",
    "Stale",
    [(IommuDriver, "attempt", attempt)],
    entries=("C11",),
)
