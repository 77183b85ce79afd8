"""F12 (b): an inner `ret` hides the outer one."""

from __future__ import annotations

from typing import Any

from sw_model import hmm_mirror as hm
from sw_model import mmu_notifier as mn
from sw_model.explore.config import Mutant
from sw_model.explore.mutants.f21 import start as old_core

fixed = hm._HmmNotifierOps.invalidate_range_start


async def start(self: Any, sub: Any, range_: Any) -> int:
    """0, whatever the mirrors said."""
    await fixed(self, sub, range_)
    return 0


MUTANT = Mutant(
    "f12b",
    "a mirror refuses and the invalidation goes on: the page is freed under the device",
    "'fix error flows in hmm_invalidate_range_start'; no end after a failed start, as in 5.2",
    "mirror_nonblock_x_fault",
    "Stale",
    [(mn, "_hlist_start", old_core), (hm._HmmNotifierOps, "invalidate_range_start", start)],
    entries=("F12",),
)
