"""B9: mm->hmm is published before its notifier is registered."""

from __future__ import annotations

from sw_model.explore.config import Mutant

MUTANT = Mutant(
    "b9",
    "the notifier is refused, and the hmm is freed although another mirror has found it",
    "seed patch; F4",
    "v1_register_x_killed",
    "UseAfterFree",
    entries=("B9", "F4"),
    shows="freed StructHmm",
)
