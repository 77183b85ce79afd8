"""C10: hmm_range_fault() returns an own device-private page without looking at the request."""

from __future__ import annotations

from typing import Any

from sw_model import hmm
from sw_model.explore.config import Mutant
from sw_model.pagetable import PAGE_SIZE, PteKind
from sw_model.sched import point

handle_pte = hmm.Walk.entry


async def entry(self: Any, vma: Any, addr: int, stop: int) -> int:
    """hmm_vma_handle_pte(): VALID, and WRITE only where the entry is writable, whatever was asked."""
    await point("pte", self.mm)
    pte = self.mm.pte(addr)
    if pte.kind is not PteKind.DEVICE_PRIVATE or pte.owner is not self.rng.dev_private_owner:
        return await handle_pte(self, vma, addr, stop)
    flags = hmm.HMM_PFN_VALID | (hmm.HMM_PFN_WRITE if pte.writable else 0)
    self.fill(addr, addr + PAGE_SIZE, pte.pfn | flags)
    return addr + PAGE_SIZE


MUTANT = Mutant(
    "c10",
    "a write request on an own device-private page that became readable returns 0 without WRITE",
    "mm/hmm.c:hmm_vma_handle_pte, hmm_vma_handle_absent_pmd; confirmed on Linux 6.1.192",
    "dm_operations",
    "KernelBug",
    [(hmm.Walk, "entry", entry)],
    entries=("C10",),
)
