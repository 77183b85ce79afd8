"""C3: the device's entries are written between migrate_vma_pages() and _finalize() without a check."""

from __future__ import annotations

from typing import Any

from sw_model.dmirror import Dmirror
from sw_model.explore.config import Mutant


def undisturbed(self: Any, events: int) -> bool:
    """Whatever was invalidated."""
    return True


MUTANT = Mutant(
    "c3",
    "MADV_DONTNEED of a page that moves: the device maps device memory that is freed",
    "lib/test_hmm.c:dmirror_migrate_finalize_and_map, nouveau_dmem, hmm.rst; confirmed on Linux 6.1.192",
    "dm_migrate_x_dontneed",
    "Stale",
    [(Dmirror, "_undisturbed", undisturbed)],
    entries=("C3",),
)
