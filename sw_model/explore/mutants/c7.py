"""C7: an invalidation that finds no memory reports success."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.driver_world import TightDriver


async def no_memory(self: Any, mark: Any) -> None:
    """return true."""


MUTANT = Mutant(
    "c7",
    "the page is reclaimed while the device maps it",
    "uvm:uvm_hmm.c:hmm_invalidate (reading)",
    "drv_alloc_x_access",
    "Stale",
    [(TightDriver, "no_memory", no_memory)],
    entries=("C7",),
)
