"""A callback sleeps although it must not block."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.world import IntervalOps
from sw_model.mmu_notifier import MmuNotifierRange, mmu_interval_set_seq


async def invalidate(self: Any, sub: Any, range_: MmuNotifierRange, cur_seq: int) -> bool:
    """range.blockable is ignored."""
    await sub.revoke(lambda: mmu_interval_set_seq(sub, cur_seq))
    return True


MUTANT = Mutant(
    "reap_sleeps",
    "the OOM reaper hangs behind the memory that it should free",
    "svm_range_cpu_invalidate_pagetables",
    "reap_x_fault",
    "KernelBug",
    [(IntervalOps, "invalidate", invalidate)],
    shows="must not block",
)
