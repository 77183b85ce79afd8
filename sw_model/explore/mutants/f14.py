"""F14: the end of an invalidation makes ranges valid again (ABA)."""

from __future__ import annotations

from typing import Any

from sw_model import hmm_mirror as hm
from sw_model.explore.config import Mutant

end = hm._HmmNotifierOps.invalidate_range_end


async def revalidate(self: Any, sub: Any, range_: Any) -> None:
    """valid = true."""
    for rng in sub.hmm.ranges:
        rng.stale_seq = 0
    await end(self, sub, range_)


MUTANT = Mutant(
    "f14",
    "an invalidation begins and ends inside a read section: a flag cannot tell, a sequence can",
    "04ec32fbc2b2",
    "mirror_fault_x_invalidate",
    "Stale",
    [(hm._HmmNotifierOps, "invalidate_range_end", revalidate)],
    entries=("B14", "F14"),
)
