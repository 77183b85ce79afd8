"""B8: registration fails when it meets a dying struct hmm."""

from __future__ import annotations

from sw_model.explore.config import Mutant

MUTANT = Mutant(
    "b8",
    "hmm_mirror_register() fails with -ENOMEM while the last other mirror goes",
    "seed patch; F4",
    "v1_register_x_unregister",
    "KernelBug",
    entries=("B8", "F4"),
    shows="gave -12",
    strategy="pct",
)
