"""B4: the invalidation callbacks do not expect that the last reference is gone."""

from __future__ import annotations

from sw_model.explore.config import Mutant

MUTANT = Mutant(
    "b4",
    "VM_BUG_ON(!hmm): the last hmm_put() ran, the notifier is still linked",
    "seed patch; F1",
    "v1_unregister_x_invalidate",
    "KernelBug",
    entries=("B4",),
    shows="VM_BUG_ON",
)
