"""B16: hmm_vma_get_pfns() ignores what the walk returned."""

from __future__ import annotations

from sw_model.explore.config import Mutant

MUTANT = Mutant(
    "b16",
    "a snapshot over a poisoned page gives 0 and leaves the pages behind it as they were",
    "seed patch's tree",
    "v1_operations",
    "Assertion",
    entries=("B16",),
    shows="left page",
)
