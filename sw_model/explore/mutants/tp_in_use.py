"""Two passes: an invalidation that meets another one's flush does not wait for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.interval_world import TwoPassDriver

start_flush = TwoPassDriver.start_flush


async def start(self: Any, mark: Callable[[], None]) -> Any:
    """The embedded finish is in use: the rest is done at once, and there is nothing left to zap."""
    if not self.pending:
        return await start_flush(self, mark)
    await self.lock.lock()
    mark()
    self.lock.unlock()
    self.unmap()
    return None


MUTANT = Mutant(
    "tp_in_use",
    "the second of two invalidations returns, and unmaps for DMA, while the flush of the first is under way",
    "reading of drivers/gpu/drm/xe/xe_userptr.c:xe_vma_userptr_do_inval() with finish_inuse",
    "tp_access_x_two_invalidates",
    "Stale",
    [(TwoPassDriver, "start_flush", start)],
    shows="unmapped for DMA",
)
