"""F1: the callbacks look their hmm up through the mm and find another one."""

from __future__ import annotations

from typing import Any

from sw_model import hmm_mirror as hm
from sw_model.explore.config import Mutant

start = hm._HmmNotifierOps.invalidate_range_start
end = hm._HmmNotifierOps.invalidate_range_end


async def create(mm: Any) -> Any:
    """Published before its notifier is registered."""
    hmm = await hm.mm_get_hmm(mm)
    if hmm is not None:
        return hmm
    hmm = hm.Hmm(mm)
    await mm.mmgrab()
    async with mm.page_table_lock:
        mm.hmm = hmm
    await hm.mmu_notifier_register_locked(hmm.mmu_notifier, mm)
    return hmm


async def start_by_mm(self: Any, sub: Any, range_: Any) -> int:
    """mm_get_hmm(range->mm) for container_of(mn)."""
    hmm = await hm.mm_get_hmm(range_.mm)
    if hmm is None:
        return 0
    ret = await start(self, hmm.mmu_notifier, range_)
    await hm.hmm_put(hmm)
    return ret


async def end_by_mm(self: Any, sub: Any, range_: Any) -> None:
    """As start."""
    hmm = await hm.mm_get_hmm(range_.mm)
    if hmm is not None:
        await end(self, hmm.mmu_notifier, range_)
        await hm.hmm_put(hmm)


MUTANT = Mutant(
    "f1",
    "the dying hmm's callback counts an invalidation in the next hmm, which never sees its end",
    "<20190522224211.GF20179@redhat.com>",
    "unregister_x_register_x_reclaim",
    "Deadlock",
    [
        (hm, "hmm_get_or_create", create),
        (hm._HmmNotifierOps, "invalidate_range_start", start_by_mm),
        (hm._HmmNotifierOps, "invalidate_range_end", end_by_mm),
    ],
    entries=("F1",),
    strategy="pct",
)
