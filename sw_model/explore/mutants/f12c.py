"""F12 (c): a start that a mirror refuses is not undone."""

from __future__ import annotations

from typing import Any

from sw_model import hmm_mirror as hm
from sw_model import mmu_notifier as mn
from sw_model.explore.config import Mutant
from sw_model.explore.mutants.f21 import start as old_core

fixed = hm._HmmNotifierOps.invalidate_range_start


async def start(self: Any, sub: Any, range_: Any) -> int:
    """The range stays active."""
    ret = await fixed(self, sub, range_)
    if ret:
        async with sub.hmm.lock:
            sub.hmm.active.append(range_)
    return ret


MUTANT = Mutant(
    "f12c",
    "-EAGAIN of a mirror leaves the invalidation counted: faults wait for ever",
    "'fix error flows in hmm_invalidate_range_start'; no end after a failed start, as in 5.2",
    "mirror_nonblock_x_fault",
    "Deadlock",
    [(mn, "_hlist_start", old_core), (hm._HmmNotifierOps, "invalidate_range_start", start)],
    entries=("F12",),
)
