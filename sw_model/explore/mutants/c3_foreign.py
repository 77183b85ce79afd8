"""C3, until the device uses device memory that another process has."""

from __future__ import annotations

from sw_model.dmirror import Dmirror
from sw_model.explore.config import Mutant
from sw_model.explore.mutants.c3 import undisturbed

MUTANT = Mutant(
    "c3_foreign",
    "the device uses device memory that another process has",
    "lib/test_hmm.c:dmirror_migrate_finalize_and_map; confirmed on Linux 6.1.192",
    "dm_migrate_foreign",
    "Stale",
    [(Dmirror, "_undisturbed", undisturbed)],
    entries=("C3",),
    shows="of neighbour), the CPU has",
)
