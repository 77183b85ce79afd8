"""B18: the comment asks for hmm_vma_range_done() after a fault that has to be tried again."""

from __future__ import annotations

from sw_model.explore.config import Mutant
from sw_model.explore.mutants.b17 import fixed
from sw_model.hmm_v1 import HmmV1

MUTANT = Mutant(
    "b18",
    "the error path has ended the range; ending it again is BUG()",
    "seed patch's tree",
    "v1_operations",
    "KernelBug",
    [(HmmV1, "fault_failed", fixed)],
    entries=("B18",),
    shows="BUG() in hmm_vma_range_done",
)
