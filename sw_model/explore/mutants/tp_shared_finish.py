"""Two passes: one embedded finish serves invalidations that run at the same time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.interval_world import TwoPassDriver

start_flush = TwoPassDriver.start_flush


async def start(self: Any, mark: Callable[[], None]) -> Any:
    """The second first pass overwrites what the first one left for its second pass."""
    new = await start_flush(self, mark)
    embedded = self.__dict__.get("embedded")
    if new is None or embedded is None:
        self.embedded = new
        return new
    embedded.waits, embedded.mine = new.waits, new.mine
    return embedded


MUTANT = Mutant(
    "tp_shared_finish",
    "a flush is forgotten, or waited for twice",
    "include/linux/mmu_notifier.h: each invocation needs its own struct mmu_interval_notifier_finish",
    "tp_access_x_two_invalidates",
    "KernelBug",
    [(TwoPassDriver, "start_flush", start)],
    shows="finished twice",
)
