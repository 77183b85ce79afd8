"""F22: a page of another device's memory is an error instead of being faulted back."""

from __future__ import annotations

import errno
from typing import Any

from sw_model import hmm
from sw_model.explore.config import Mutant
from sw_model.pagetable import PAGE_SIZE, PteKind

entry = hmm.Walk.entry


async def refuse(self: Any, vma: Any, addr: int, stop: int) -> int:
    """-EFAULT for a foreign device-private entry that is requested."""
    pte = self.mm.pte(addr)
    if (
        pte.kind is PteKind.DEVICE_PRIVATE
        and not self.own(pte)
        and self.need_range(addr, addr + PAGE_SIZE, 0)
    ):
        raise hmm.WalkFail(-errno.EFAULT)
    return await entry(self, vma, addr, stop)


MUTANT = Mutant(
    "f22",
    "-EFAULT for memory that a fault would have brought back",
    "8a295dbbaf72",
    "interval_states",
    "Assertion",
    [(hmm.Walk, "entry", refuse)],
    entries=("F22",),
    shows="foreign private",
)
