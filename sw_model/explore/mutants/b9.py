"""B9: mm->hmm is published before its notifier is registered."""

from __future__ import annotations

from typing import Any

from sw_model import hmm_mirror as hm
from sw_model.explore.config import Mutant
from sw_model.explore.world import MirrorDriver


async def hmm_register(mm: Any) -> Any:
    """Publish, then register."""
    hmm = await hm.mm_get_hmm(mm)
    if hmm is not None:
        return hmm
    hmm = hm.Hmm(mm)
    await mm.mmgrab()
    async with mm.page_table_lock:
        mm.hmm = hmm
    async with mm.mmap_lock.write():
        await hm.mmu_notifier_register_locked(hmm.mmu_notifier, mm)
    return hmm


async def register(self: Any, mm: Any) -> int:
    """hmm_get() needs no lock: a second mirror finds the hmm at once."""
    hmm = await hmm_register(mm)
    async with hmm.mirrors_sem.write():
        hmm.mirrors.insert(0, self)
        self.hmm = hmm
    return 0


MUTANT = Mutant(
    "b9",
    "a second mirror uses the hmm before the notifier is there and misses an invalidation",
    "seed patch; F4",
    "register_fault_x_register_x_reclaim",
    "Stale",
    [(MirrorDriver, "register", register)],
    entries=("B9",),
    strategy="pct",
)
