"""SvmDriver does not wait until the device has drained."""

from __future__ import annotations

from typing import Any

from sw_model import driver
from sw_model.explore.config import Mutant


async def at_once(self: Any) -> None:
    """No wait."""


MUTANT = Mutant(
    "full_no_completion",
    "an invalidation returns before the device has completed it, in SvmDriver",
    "tests/test_driver.py",
    "full_fault_x_invalidate",
    "Stale",
    [(driver._Completion, "wait", at_once)],
)
