"""F19: a driver does not skip the EXCLUSIVE event that it owns."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.interval_world import OwnerDriver
from sw_model.mmu_notifier import MmuNotifierRange


def never(self: Any, range_: MmuNotifierRange) -> bool:
    """Owners are not compared."""
    return False


MUTANT = Mutant(
    "f19",
    "the event ends the section that it is sent in, each time",
    "MMU_NOTIFY_EXCLUSIVE and range.owner; nouveau_svm_range_invalidate",
    "owner_exclusive_x_invalidate",
    "Livelock",
    [(OwnerDriver, "skips", never)],
    entries=("F19",),
)
