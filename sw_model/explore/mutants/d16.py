"""D16: two devices migrate a page away from each other for ever."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.devmem_drivers import TwoDevices


async def pull(self: Any, i: int) -> None:
    """Not serialised."""
    while not await self.attempt(i):
        pass


MUTANT = Mutant(
    "d16",
    "neither device gets its page table update through: the other has pulled the page away",
    "xe/svm 0620837490e0",
    "dm_two_devices",
    "Livelock",
    [(TwoDevices, "pull", pull)],
    entries=("D16",),
)
