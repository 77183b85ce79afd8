"""D6: an error return of the fault path keeps mmap_lock."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.world import FILL, Driver


async def attempt(self: Any, mm: Any, seq: int) -> bool:
    """nouveau_range_fault()."""
    await mm.mmap_lock.down_read()
    ret, pfn, write = await self.walk(mm, seq)
    if ret:
        return False
    mm.mmap_lock.up_read()
    await self.lock.lock()
    stale = await self.retry(seq)
    if not stale:
        self.granted = True
        self.dev.post(FILL, pfn, write, None)
    self.lock.unlock()
    return not stale


MUTANT = Mutant(
    "d6",
    "mmap_lock stays taken after -EBUSY: fork() hangs",
    "nouveau de4ee728465f",
    "drv_fault_x_reclaim_fork",
    "KernelBug",
    [(Driver, "attempt", attempt)],
    entries=("D6",),
)
