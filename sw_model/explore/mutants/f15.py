"""F15: a write to a VMA that is not writable is faulted and walked again, for ever."""

from __future__ import annotations

from typing import Any

from sw_model import hmm
from sw_model.explore.config import Mutant
from sw_model.pagetable import PAGE_SIZE


async def fault(self: Any, vma: Any, addr: int, end: int, need: int) -> None:
    """No look at VM_WRITE: the handler maps the page read-only."""
    self.last = addr
    for a in range(addr, end, PAGE_SIZE):
        await self.mm.handle_mm_fault(vma, a, bool(need & hmm._NEED_WRITE))
    raise hmm.WalkBusy


MUTANT = Mutant(
    "f15",
    "hmm_range_fault() never returns where -EPERM is due",
    "Ralph Campbell, August 2019; Linux 5.4",
    "interval_states",
    "Livelock",
    [(hmm.Walk, "fault", fault)],
    entries=("F15",),
)
