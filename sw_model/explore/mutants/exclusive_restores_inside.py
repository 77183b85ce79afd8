"""The page is taken back inside the read section that it is to be mapped in."""

from __future__ import annotations

from typing import Any

from sw_model.devmem import make_device_exclusive
from sw_model.dmirror import TAG_ATOMIC, Dmirror
from sw_model.explore.config import Mutant
from sw_model.fault import release_page
from sw_model.mmu_notifier import mmu_interval_read_begin, mmu_interval_read_retry
from sw_model.pagetable import PAGE_SHIFT


async def map_exclusive(self: Any, addr: int) -> int:
    """read_begin(), make_device_exclusive(), read_retry(), again."""
    done = False
    while not done:
        seq = await mmu_interval_read_begin(self)
        pfn = await make_device_exclusive(self.mm, addr, self.device)
        if pfn < 0:
            return pfn
        done = await self.map_pages(
            {addr >> PAGE_SHIFT: (pfn, TAG_ATOMIC)}, lambda seq=seq: not mmu_interval_read_retry(self, seq)
        )
        self.phys.unlock_page(pfn)
        release_page(self.phys, pfn)
    return 0


MUTANT = Mutant(
    "exclusive_restores_inside",
    "one collision with another invalidation, and the attempts never end: each undoes the last",
    "drivers/gpu/drm/nouveau/nouveau_svm.c:nouveau_atomic_range_fault (reading); found in the model",
    "dm_exclusive_x_other_page",
    "Livelock",
    [(Dmirror, "_map_exclusive", map_exclusive)],
)
