"""B15: usage 2 relies on pfns that an invalidation has zeroed."""

from __future__ import annotations

from sw_model.explore.config import Mutant

MUTANT = Mutant(
    "b15",
    "the walk stores a pfn after the zeroing, and the driver uses it although the range is invalid",
    "seed patch's comment; 'do not erase snapshot when a range is invalidated'",
    "v1_fault_x_late_invalidate",
    "Stale",
    entries=("B15",),
)
