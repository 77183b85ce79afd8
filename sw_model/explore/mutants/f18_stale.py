"""F18: one path of the walk does not store its result."""

from __future__ import annotations

from typing import Any

from sw_model import hmm
from sw_model.explore.config import Mutant

fill = hmm.Walk.fill


def keep(self: Any, addr: int, end: int, value: int) -> None:
    """Nothing is stored where there is nothing."""
    if value:
        fill(self, addr, end, value)
    else:
        self.last = end


MUTANT = Mutant(
    "f18_stale",
    "what the caller put in comes out: a request reads as VALID",
    "hmm_range_fault() error case fixes, Linux 5.7 (hmm_vma_walk_pmd)",
    "interval_states",
    "Assertion",
    [(hmm.Walk, "fill", keep)],
    entries=("F18",),
)
