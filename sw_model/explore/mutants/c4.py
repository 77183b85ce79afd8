"""C4: the atomic flag of a fault batch is never cleared."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.devmem_drivers import ATOMIC, NouveauMirror


def is_atomic(self: Any, access: int, before: bool) -> bool:
    """Set, and left set."""
    return before or access == ATOMIC


MUTANT = Mutant(
    "c4",
    "a legal read of a read-only page behind an atomic access is refused",
    "drivers/gpu/drm/nouveau/nouveau_svm.c:nouveau_svm_fault (reading)",
    "dm_fault_batch",
    "Assertion",
    [(NouveauMirror, "is_atomic", is_atomic)],
    entries=("C4",),
    shows="access 0",
)
