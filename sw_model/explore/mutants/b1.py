"""B1: a callback that finds hmm->mm NULL forgets its reference."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.world import ToyMm

mmdrop = ToyMm.mmdrop


async def early(self: Any) -> None:
    """hmm_mm_destroy() at every drop: the notifier's pin does not hold it back."""
    if self.hmm_mm_destroy is not None:
        await self.hmm_mm_destroy(self)
    await mmdrop(self)


MUTANT = Mutant(
    "b1",
    "the early return of hmm_invalidate_range_end() leaks struct hmm (mm_count pin broken)",
    "seed patch; gone in v2",
    "v1_drop_x_invalidate",
    "Assertion",
    [(ToyMm, "mmdrop", early)],
    entries=("B1",),
    shows="struct hmm leaks",
)
