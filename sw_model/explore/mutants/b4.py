"""B4: hmm_invalidate_range_start() does not expect that the last reference is gone."""

from __future__ import annotations

from typing import Any

from sw_model import hmm_mirror as hm
from sw_model.explore.config import Mutant

start = hm._HmmNotifierOps.invalidate_range_start


async def invalidate_range_start(self: Any, sub: Any, range_: Any) -> int:
    """hmm_get(mm) may give NULL."""
    hmm: Any = await hm.mm_get_hmm(range_.mm)
    await hm.hmm_put(hmm)
    return await start(self, sub, range_)


MUTANT = Mutant(
    "b4",
    "NULL dereference in hmm_invalidate_range_start: the last hmm_put() ran, the notifier is still linked",
    "seed patch; F1",
    "unregister_x_invalidate",
    "Oops",
    [(hm._HmmNotifierOps, "invalidate_range_start", invalidate_range_start)],
)
