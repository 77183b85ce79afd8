"""F18: a requested page that cannot be had is ERROR, and the call succeeds."""

from __future__ import annotations

from typing import Any

from sw_model import hmm
from sw_model.explore.config import Mutant
from sw_model.pagetable import PAGE_SIZE

entry = hmm.Walk.entry


async def lenient(self: Any, vma: Any, addr: int, stop: int) -> int:
    """ERROR where -EFAULT is due."""
    try:
        return await entry(self, vma, addr, stop)
    except hmm.WalkFail:
        self.fill(addr, addr + PAGE_SIZE, hmm.HMM_PFN_ERROR)
        return addr + PAGE_SIZE


MUTANT = Mutant(
    "f18_error",
    "0 is returned although a requested page is not valid",
    "hmm_range_fault() error case fixes, Linux 5.7",
    "interval_states",
    "Assertion",
    [(hmm.Walk, "entry", lenient)],
    entries=("F18",),
    shows="not E",
)
