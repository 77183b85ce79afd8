"""C1 on the whole stack: a refused start leaves the interval side active."""

from __future__ import annotations

from sw_model.explore.config import Mutant
from sw_model.explore.mutants import c1

MUTANT = Mutant(
    "full_c1",
    "the fault of the device is never answered: its read section waits for ever",
    c1.MUTANT.reference,
    "full_reap_refused_x_fault",
    "Deadlock",
    c1.MUTANT.patches,
    entries=("C1",),
    shows="write waits",
)
