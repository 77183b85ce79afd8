"""F12 (a): a trylock fails after the invalidation has been counted."""

from __future__ import annotations

import errno
from typing import Any

from sw_model import hmm_mirror as hm
from sw_model import mmu_notifier as mn
from sw_model.explore.config import Mutant
from sw_model.explore.mutants.f21 import start as old_core

fixed = hm._HmmNotifierOps.invalidate_range_start


async def start(self: Any, sub: Any, range_: Any) -> int:
    """-EAGAIN at once when mirrors_sem is taken: the range stays active."""
    hmm = sub.hmm
    if not range_.blockable and hmm.mirrors_sem.writer and await hm.hmm_get(hmm):
        async with hmm.lock:
            hmm.active.append(range_)
            hmm.seq += 1
        await hm.hmm_put(hmm)
        return -errno.EAGAIN
    return await fixed(self, sub, range_)


MUTANT = Mutant(
    "f12a",
    "-EAGAIN because mirrors_sem is taken leaves the invalidation counted: faults wait for ever",
    "'fix error flows in hmm_invalidate_range_start'; no end after a failed start, as in 5.2",
    "mirror_nonblock_x_fault",
    "Deadlock",
    [(mn, "_hlist_start", old_core), (hm._HmmNotifierOps, "invalidate_range_start", start)],
    entries=("F12",),
    strategy="pct",
)
