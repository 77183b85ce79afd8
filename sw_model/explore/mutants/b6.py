"""B6: struct hmm does not pin its mm; hmm_free() uses it after dropping the notifier's pin."""

from __future__ import annotations

from typing import Any

from sw_model import hmm_mirror as hm
from sw_model.explore.config import Mutant
from sw_model.locking import kfree


async def register(mm: Any) -> Any:
    """No mmgrab()."""
    hmm = await hm.mm_get_hmm(mm)
    if hmm is not None:
        return hmm
    hmm = hm.Hmm(mm)
    await hm.mmu_notifier_register_locked(hmm.mmu_notifier, mm)
    async with mm.page_table_lock:
        mm.hmm = hmm
    return hmm


async def free(hmm: Any) -> None:
    """mmu_notifier_unregister_no_release() drops the mm, then its lock is taken."""
    mm = hmm.mm
    await hm.mmu_notifier_unregister_no_release(hmm.mmu_notifier, mm)
    async with mm.page_table_lock:
        if mm.hmm is hmm:
            mm.hmm = None

    async def free_rcu() -> None:
        kfree(hmm)

    await hm.mmu_notifier_call_srcu(mm, free_rcu)


MUTANT = Mutant(
    "b6",
    "hmm_free() touches the mm after its last pin has gone",
    "seed patch; F3",
    "unregister_x_exit",
    "KernelBug",
    [(hm, "hmm_register", register), (hm, "_hmm_free", free)],
)
