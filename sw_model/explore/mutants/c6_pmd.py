"""C6: a foreign device-private PMD reads as an error, a PTE of the same kind as nothing."""

from __future__ import annotations

from typing import Any

from sw_model import hmm
from sw_model.explore.config import Mutant
from sw_model.pagetable import PteKind

entry = hmm.Walk.entry


async def error(self: Any, vma: Any, addr: int, stop: int) -> int:
    """hmm_vma_handle_absent_pmd()."""
    pte = self.mm.pte(addr)
    foreign = pte.order and pte.kind is PteKind.DEVICE_PRIVATE and not self.own(pte)
    end = await entry(self, vma, addr, stop)
    if foreign:
        self.fill(addr, end, hmm.HMM_PFN_ERROR)
    return end


MUTANT = Mutant(
    "c6_pmd",
    "a snapshot calls memory inaccessible that a fault would bring back",
    "reading of Linux 7.3.4, mm/hmm.c:hmm_vma_handle_absent_pmd",
    "interval_states",
    "Assertion",
    [(hmm.Walk, "entry", error)],
    entries=("C6",),
    shows="huge foreign private",
)
