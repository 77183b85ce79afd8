"""D12: duplicate records of a fault are not dropped when the range is unmapped."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.driver_world import RetryDriver


def stale(self: Any) -> bool:
    """Every record counts."""
    return False


MUTANT = Mutant(
    "d12_unmap",
    "a correct program is killed: a record of an access that is done names what it has unmapped",
    "amdkfd drain_pagefaults, checkpoint_ts",
    "drv_duplicate_x_unmap",
    "Assertion",
    [(RetryDriver, "stale", stale)],
    entries=("D12",),
)
