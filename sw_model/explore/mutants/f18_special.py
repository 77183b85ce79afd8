"""F18: a special entry is taken for a page."""

from __future__ import annotations

from typing import Any

from sw_model import hmm
from sw_model.explore.config import Mutant
from sw_model.pagetable import PAGE_SIZE

entry = hmm.Walk.entry


async def blind(self: Any, vma: Any, addr: int, stop: int) -> int:
    """No pte_special() test."""
    pte = self.mm.pte(addr)
    if pte.special:
        self.fill(addr, addr + PAGE_SIZE, self.cpu_flags(pte) | pte.pfn)
        return addr + PAGE_SIZE
    return await entry(self, vma, addr, stop)


MUTANT = Mutant(
    "f18_special",
    "the device maps a frame that has no struct page",
    "hmm_range_fault() error case fixes, Linux 5.7 (pte_special)",
    "interval_states",
    "Assertion",
    [(hmm.Walk, "entry", blind)],
    entries=("F18",),
    shows="special",
)
