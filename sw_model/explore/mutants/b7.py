"""B7: hmm_free() of an hmm that hmm_mm_destroy() has been at."""

from __future__ import annotations

from sw_model.explore.config import Mutant
from sw_model.explore.mutants.b1 import early
from sw_model.explore.world import ToyMm

MUTANT = Mutant(
    "b7",
    "NULL dereference of hmm->mm in hmm_free() (mm_count pin broken)",
    "seed patch; F3",
    "v1_drop_x_invalidate",
    "Oops",
    [(ToyMm, "mmdrop", early)],
    entries=("B7", "F3"),
    shows="NoneType",
)
