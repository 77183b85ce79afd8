"""D15: the folio lock is taken under the notifier lock."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.driver_world import DirtyDriver
from sw_model.explore.world import FILL


async def attempt(self: Any, mm: Any, seq: int) -> bool:
    """set_page_dirty_lock() before the unlock."""
    await mm.mmap_lock.down_read()
    ret, pfn, write = await self.walk(mm, seq)
    mm.mmap_lock.up_read()
    if ret:
        return False
    await self.lock.lock()
    stale = await self.retry(seq)
    if not stale:
        self.granted = True
        self.dev.post(FILL, pfn, write, None)
        await mm.folio.lock()
        mm.folio.unlock()
    self.lock.unlock()
    return not stale


MUTANT = Mutant(
    "d15",
    "reclaim holds the folio lock and calls the notifier: a circle",
    "xe/userptr bd7c0cb695e8",
    "drv_dirty_x_reclaim",
    "KernelBug",
    [(DirtyDriver, "attempt", attempt)],
    entries=("D15",),
)
