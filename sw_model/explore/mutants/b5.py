"""B5: struct hmm is freed without a grace period."""

from __future__ import annotations

from sw_model.explore.config import Mutant

MUTANT = Mutant(
    "b5",
    "hmm_get() in a callback counts in an hmm that has been freed",
    "seed patch; F1",
    "v1_unregister_x_exit",
    "UseAfterFree",
    entries=("B5", "F1"),
    shows="StructHmm.kref",
    strategy="pct",
)
