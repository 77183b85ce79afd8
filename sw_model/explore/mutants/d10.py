"""D10: the read section begins once, before the retry loop."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.world import Driver


async def service(self: Any, mm: Any) -> None:
    """A stale sequence stays stale."""
    seq = await self.read_begin()
    while not await self.attempt(mm, seq):
        pass


MUTANT = Mutant(
    "d10",
    "mmu_interval_read_begin() outside the retry loop: stale for ever",
    "amdgpu c08972f55594, fixed by 342981fff328",
    "fault_x_invalidate",
    "Livelock",
    [(Driver, "service", service)],
    entries=("D10",),
)
