"""D11: the callback takes a user of the address space and drops it."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.world import IntervalOps

honest = IntervalOps.invalidate


async def invalidate(self: Any, sub: Any, range_: Any, cur_seq: int) -> bool:
    """svm_range_cpu_invalidate_pagetables() with mmget_not_zero() and mmput()."""
    if not await sub.mm.mmget_not_zero():
        return await honest(self, sub, range_, cur_seq)
    ok = await honest(self, sub, range_, cur_seq)
    await sub.mm.mmput()
    return ok


MUTANT = Mutant(
    "d11",
    "the callback's mmput() is the last: exit_mmap() inside the notifier waits for the walk that it is in",
    "amdkfd fa582c6f3684, a29e067bd389",
    "drv_rmap_x_exit",
    "KernelBug",
    [(IntervalOps, "invalidate", invalidate)],
    entries=("D11",),
)
