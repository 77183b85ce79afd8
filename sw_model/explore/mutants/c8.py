"""C8: the callback ignores that it must not block."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.world import Driver


async def try_revoke(self: Any, mark: Any) -> bool:
    """As if blockable."""
    await self.revoke(mark)
    return True


MUTANT = Mutant(
    "c8",
    "the OOM reaper sleeps on a driver mutex",
    "drivers/gpu/drm/amd/amdkfd/kfd_svm.c:svm_range_cpu_invalidate_pagetables (reading)",
    "drv_nonblock_x_fault",
    "KernelBug",
    [(Driver, "try_revoke", try_revoke)],
    entries=("C8",),
)
