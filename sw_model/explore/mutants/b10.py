"""B10: a fault without a mirror makes an hmm, with mmap_lock held for reading."""

from __future__ import annotations

from sw_model.explore.config import Mutant

MUTANT = Mutant(
    "b10",
    "hmm_vma_fault() after hmm_mirror_unregister() registers a notifier without the lock",
    "seed patch; F2",
    "v1_operations",
    "KernelBug",
    entries=("B10",),
    shows="is not held for writing",
)
