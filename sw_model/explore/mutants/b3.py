"""B3: hmm_release() does not expect that the last reference is gone."""

from __future__ import annotations

from sw_model.explore.config import Mutant

MUTANT = Mutant(
    "b3",
    "NULL dereference in hmm_release: the last hmm_put() ran, the notifier is still linked",
    "seed patch; F1",
    "v1_unregister_x_exit",
    "Oops",
    entries=("B3",),
    shows="mirrors_sem",
)
