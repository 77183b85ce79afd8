"""Two passes: the frame is unmapped for DMA in the first one, before the flush."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.interval_world import TwoPassDriver

start_flush = TwoPassDriver.start_flush


async def start(self: Any, mark: Callable[[], None]) -> Any:
    """dma_unmap_page() before the fence."""
    flush = await start_flush(self, mark)
    if flush is not None and flush.mine is not None:
        self.unmap()
    return flush


MUTANT = Mutant(
    "tp_unmap_early",
    "the device uses an I/O address that no longer leads to the frame",
    "reading of 7aba71dbc416 and its users",
    "tp_access_x_invalidate",
    "Stale",
    [(TwoPassDriver, "start_flush", start)],
    shows="unmapped for DMA",
)
