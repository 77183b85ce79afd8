"""B11: two threads unregister one mirror."""

from __future__ import annotations

from sw_model.explore.config import Mutant

MUTANT = Mutant(
    "b11",
    "hmm_mirror_unregister() twice drops two references",
    "seed patch; F9",
    "v1_unregister_x_unregister",
    "KernelBug",
    entries=("B11", "F9"),
)
