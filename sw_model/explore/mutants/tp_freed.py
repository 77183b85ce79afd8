"""Two passes: a notifier is freed between them."""

from __future__ import annotations

from typing import Any

from sw_model import mmu_notifier as mn
from sw_model.explore.config import Mutant


async def no_wait(subs: Any, seq: int) -> None:
    """mmu_interval_notifier_remove() returns while the invalidation runs."""


MUTANT = Mutant(
    "tp_freed",
    "the second pass uses the notifier that detach has freed",
    "reading of 7aba71dbc416 and its users",
    "tp_detach_x_invalidate",
    "UseAfterFree",
    [(mn, "_wait_seq_released", no_wait)],
    shows="read of .ops of a freed TwoPassDriver",
)
