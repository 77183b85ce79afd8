"""D13: the device's page table is updated outside the lock of the notifier."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.world import FILL, Driver
from sw_model.sched import point


async def attempt(self: Any, mm: Any, seq: int) -> bool:
    """Checked under the lock, posted behind it."""
    await mm.mmap_lock.down_read()
    ret, pfn, write = await self.walk(mm, seq)
    mm.mmap_lock.up_read()
    if ret:
        return False
    await self.lock.lock()
    stale = await self.retry(seq)
    self.lock.unlock()
    if stale:
        return False
    await point("update", self)
    self.granted = True
    self.dev.post(FILL, pfn, write, None)
    return True


MUTANT = Mutant(
    "d13",
    "a fill that was checked before an invalidation is posted behind it",
    "amdgpu notifier_lock, 6c55d6e90e68",
    "fault_x_invalidate",
    "Stale",
    [(Driver, "attempt", attempt)],
    entries=("D13",),
)
