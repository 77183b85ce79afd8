"""C6: a snapshot has a poisoned page as nothing, not as an error."""

from __future__ import annotations

from typing import Any

from sw_model import hmm
from sw_model.explore.config import Mutant
from sw_model.pagetable import PteKind

entry = hmm.Walk.entry


async def nothing(self: Any, vma: Any, addr: int, stop: int) -> int:
    """hmm_vma_handle_pte(): a non-present entry that is not requested is 0."""
    poisoned = self.mm.pte(addr).kind is PteKind.HWPOISON
    end = await entry(self, vma, addr, stop)
    if poisoned:
        self.fill(addr, end, 0)
    return end


MUTANT = Mutant(
    "c6_hwpoison",
    "a snapshot calls a page that can never be had merely absent",
    "reading of Linux 7.3.4, mm/hmm.c:hmm_vma_handle_pte",
    "interval_states",
    "Assertion",
    [(hmm.Walk, "entry", nothing)],
    entries=("C6",),
    shows="hwpoison",
)
