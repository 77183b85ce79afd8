"""F7: a range does not keep the address space."""

from __future__ import annotations

from sw_model.explore.config import Mutant

MUTANT = Mutant(
    "f7",
    "hmm_vma_fault() after release() maps a page that exit_mmap() frees",
    "'hold on to the mmget for the lifetime of the range'",
    "v1_range_x_exit",
    "Stale",
    entries=("F7",),
)
