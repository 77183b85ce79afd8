"""D12: detach does not drain the faults that are being serviced."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.world import Driver


async def nothing(self: Any) -> None:
    """No flush."""


MUTANT = Mutant(
    "d12",
    "a stale fault is serviced after its range has gone",
    "amdkfd drain_pagefaults",
    "fault_x_unregister",
    "UseAfterFree",
    [(Driver, "flush", nothing)],
    entries=("D12",),
)
