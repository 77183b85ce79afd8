"""The driver does not wait until the device has drained."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.world import Driver


async def at_once(self: Any, done: Any) -> None:
    """No wait."""


MUTANT = Mutant(
    "no_completion",
    "an invalidation returns before the device has completed it",
    "tests/test_driver.py",
    "access_x_invalidate",
    "Stale",
    [(Driver, "wait_done", at_once)],
)
