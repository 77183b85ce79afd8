"""B5: struct hmm is freed without a grace period."""

from __future__ import annotations

from typing import Any

from sw_model import hmm_mirror as hm
from sw_model.explore.config import Mutant


async def at_once(mm: Any, callback: Any) -> None:
    """kfree() right away."""
    await callback()


MUTANT = Mutant(
    "b5",
    "hmm_free() frees the hmm while exit walks the notifiers",
    "seed patch; F1",
    "unregister_x_exit",
    "UseAfterFree",
    [(hm, "mmu_notifier_call_srcu", at_once)],
)
