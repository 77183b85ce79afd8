"""F2: a range looks its hmm up through the mm, which does not keep it."""

from __future__ import annotations

from sw_model.explore.config import Mutant

MUTANT = Mutant(
    "f2",
    "the mirror goes during the fault, and hmm_vma_fault() makes another hmm",
    "e36acfe6c86d",
    "v1_fault_x_unregister",
    "KernelBug",
    entries=("F2",),
    shows="is not held for writing",
)
