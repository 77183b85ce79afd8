"""D8: the part to migrate begins at the address asked for, not where the VMA does."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.devmem_drivers import NouveauMirror


def intersection(self: Any, vma: Any, start: int, end: int) -> tuple[int, int]:
    """Only the end is clipped."""
    return start, min(end, vma.vm_end)


MUTANT = Mutant(
    "d8",
    "a bind over a hole fails with -EINVAL and migrates nothing behind it",
    "nouveau b92103b559c7",
    "dm_bind",
    "Assertion",
    [(NouveauMirror, "intersection", intersection)],
    entries=("D8",),
    shows="bind: -22",
)
