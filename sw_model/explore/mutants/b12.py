"""B12: hmm_release() calls the mirror without mirrors_sem."""

from __future__ import annotations

from sw_model.explore.config import Mutant

MUTANT = Mutant(
    "b12",
    "hmm_release() tells a mirror that has been unregistered and freed",
    "seed patch; F11",
    "v1_unregister_x_exit",
    "UseAfterFree",
    entries=("B12", "F11"),
    shows="freed MirrorDriver",
)
