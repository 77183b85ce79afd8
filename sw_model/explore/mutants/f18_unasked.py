"""F18: a hole fails although nobody asked for a fault."""

from __future__ import annotations

import errno
from typing import Any

from sw_model import hmm
from sw_model.explore.config import Mutant

run = hmm.Walk.run


async def strict(self: Any, addr: int, end: int) -> None:
    """-EFAULT without looking at the requests."""
    if self.mm.find_vma(addr) is None:
        raise hmm.WalkFail(-errno.EFAULT)
    await run(self, addr, end)


MUTANT = Mutant(
    "f18_unasked",
    "a page that is not requested makes the call fail",
    "hmm_range_fault() error case fixes, Linux 5.7 (hmm_vma_walk_test)",
    "interval_states",
    "Assertion",
    [(hmm.Walk, "run", strict)],
    entries=("F18",),
    shows="EFAULT, not",
)
