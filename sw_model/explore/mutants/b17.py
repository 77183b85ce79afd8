"""B17: hmm_vma_do_fault() always allows that mmap_lock is dropped."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.hmm_v1 import HmmV1


async def fixed(self: Any, rng: Any, hmm: Any) -> None:
    """Without B2, which comes first: the range goes off the list, the reference is dropped."""
    async with hmm.lock:
        hmm.ranges.remove(rng)
    await self.hmm_put(hmm)


MUTANT = Mutant(
    "b17",
    "hmm_vma_fault(block=true) comes back without mmap_lock",
    "'Only set FAULT_FLAG_ALLOW_RETRY for non-blocking', 5.3",
    "v1_operations",
    "KernelBug",
    [(HmmV1, "fault_failed", fixed)],
    entries=("B17",),
    shows="up_read of 'mmap_lock'",
)
