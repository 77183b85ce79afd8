"""B19: the overlap test counts an invalidation that ends where the range begins."""

from __future__ import annotations

from sw_model.explore.config import Mutant

MUTANT = Mutant(
    "b19",
    "a range is invalid after an invalidation of the page before it (harmless: more retries)",
    "seed patch's tree",
    "v1_operations",
    "Assertion",
    entries=("B19",),
    shows="page before it",
)
