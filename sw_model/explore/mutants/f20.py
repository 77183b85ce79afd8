"""F20: a waiting remove tests the sequence without the lock."""

from __future__ import annotations

from typing import Any

from sw_model import mmu_notifier as mn
from sw_model.explore.config import Mutant


async def wait(subs: Any, seq: int) -> None:
    """wait_event(READ_ONCE(invalidate_seq) != seq)."""
    await subs.wq.wait(lambda: subs.invalidate_seq != seq)


MUTANT = Mutant(
    "f20",
    "the notifier is freed while the end of the invalidation still has it on its deferred list",
    "319561669a59",
    "remove_x_invalidate",
    "UseAfterFree",
    [(mn, "_wait_seq_released", wait)],
    entries=("F20",),
)
