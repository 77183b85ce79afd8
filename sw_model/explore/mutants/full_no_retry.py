"""SvmDriver does not look whether its read section is still valid."""

from __future__ import annotations

from typing import Any

from sw_model import driver
from sw_model.explore.config import Mutant


async def never(self: Any, cl: Any) -> bool:
    """No retry."""
    return False


MUTANT = Mutant(
    "full_no_retry",
    "mmu_interval_read_retry() is not called before the fill, in SvmDriver",
    "tests/test_driver.py",
    "full_fault_x_invalidate",
    "Stale",
    [(driver._Interval, "retry", never)],
)
