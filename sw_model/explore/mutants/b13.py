"""B13: a range that begins inside an invalidation counts as valid."""

from __future__ import annotations

from sw_model.explore.config import Mutant

MUTANT = Mutant(
    "b13",
    "a new range reads the old PTE between start and the change, and nothing makes it invalid",
    "seed patch; 'improve driver API to work and wait over a range'",
    "v1_fault_x_invalidate",
    "Stale",
    entries=("B13",),
)
