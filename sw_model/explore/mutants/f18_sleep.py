"""F18: a hole is faulted in under the page table lock."""

from __future__ import annotations

from typing import Any

from sw_model import hmm
from sw_model.explore.config import Mutant

fault = hmm.Walk.fault


async def locked(self: Any, vma: Any, addr: int, end: int, need: int) -> None:
    """hmm_vma_walk_hole() under the PUD spinlock."""
    async with self.mm.page_table_lock:
        await fault(self, vma, addr, end, need)


MUTANT = Mutant(
    "f18_sleep",
    "the handler sleeps, or takes the lock again",
    "hmm_range_fault() error case fixes, Linux 5.7 (hmm_vma_walk_pud)",
    "interval_states",
    "KernelBug",
    [(hmm.Walk, "fault", locked)],
    entries=("F18",),
    shows="page_table_lock",
)
