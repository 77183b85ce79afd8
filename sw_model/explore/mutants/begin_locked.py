"""A read section begins with the lock held that callbacks take."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.world import Driver

read_begin = Driver.read_begin


async def locked(self: Any) -> int:
    """mmu_interval_read_begin() under the driver lock."""
    async with self.lock:
        return await read_begin(self)


MUTANT = Mutant(
    "begin_locked",
    "reader and invalidation wait for each other",
    "include/linux/mmu_notifier.h: rules of mmu_interval_read_begin()",
    "fault_x_invalidate",
    "KernelBug",
    [(Driver, "read_begin", locked)],
    shows="lock order",
)
