"""B20: the notifier's own reference is the last one, and it is freed under the walk."""

from __future__ import annotations

from typing import Any

from sw_model import hmm_mirror as hm
from sw_model.explore.config import Mutant


async def at_once(mm: Any, callback: Any) -> None:
    """kfree() right away."""
    await callback()


MUTANT = Mutant(
    "b20",
    "the callback's own hmm_put() frees the node that the walk stands on",
    "seed patch; F1",
    "unregister_x_invalidate",
    "UseAfterFree",
    [(hm, "mmu_notifier_call_srcu", at_once)],
)
