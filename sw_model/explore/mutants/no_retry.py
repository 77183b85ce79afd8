"""The driver does not look whether its read section is still valid."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.world import Driver


async def never(self: Any, seq: int) -> bool:
    """No retry."""
    return False


MUTANT = Mutant(
    "no_retry",
    "mmu_interval_read_retry() is not called before the fill",
    "tests/test_driver.py",
    "fault_x_invalidate",
    "Stale",
    [(Driver, "retry", never)],
)
