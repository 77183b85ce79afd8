"""B2: the error path of hmm_vma_fault() ends a range that has no hmm."""

from __future__ import annotations

from sw_model.explore.config import Mutant

MUTANT = Mutant(
    "b2",
    "a device fault beyond the end of a file is BUG()",
    "seed patch, still in 704f3f2cf63c",
    "v1_operations",
    "KernelBug",
    entries=("B2",),
    shows="BUG() in hmm_vma_range_done",
)
