"""C2, until the device reads a page of another process."""

from __future__ import annotations

from sw_model.dmirror import Dmirror
from sw_model.explore.config import Mutant
from sw_model.explore.mutants.c2 import map_exclusive

MUTANT = Mutant(
    "c2_foreign",
    "the device reads a page of another process",
    "lib/test_hmm.c:dmirror_exclusive; confirmed on Linux 6.1.192",
    "dm_exclusive_foreign",
    "Stale",
    [(Dmirror, "_map_exclusive", map_exclusive)],
    entries=("C2",),
    shows="of neighbour), the CPU has",
)
