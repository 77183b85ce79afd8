"""F16: a page that is swapped out is not faulted in."""

from __future__ import annotations

from typing import Any

from sw_model import hmm
from sw_model.explore.config import Mutant
from sw_model.pagetable import PAGE_SIZE, PteKind

entry = hmm.Walk.entry


async def forget_swap(self: Any, vma: Any, addr: int, stop: int) -> int:
    """The request is not looked at for a swap entry."""
    if self.mm.pte(addr).kind is PteKind.SWAP:
        self.fill(addr, addr + PAGE_SIZE, 0)
        return addr + PAGE_SIZE
    return await entry(self, vma, addr, stop)


MUTANT = Mutant(
    "f16",
    "0 is returned and a requested page is not valid: the device faults for ever",
    "Philip Yang, Linux 5.4 (hmm_vma_handle_pte)",
    "interval_states",
    "Assertion",
    [(hmm.Walk, "entry", forget_swap)],
    entries=("F16",),
    shows="swap",
)
