"""B13: a range that begins inside an invalidation counts as valid."""

from __future__ import annotations

from typing import Any

from sw_model import hmm_mirror as hm
from sw_model.explore.config import Mutant

begin = hm._range_begin


async def blind(mirror: Any, rng: Any) -> int:
    """valid = true."""
    ret = await begin(mirror, rng)
    rng.stale_seq = 0
    return ret


async def no_wait(mirror: Any) -> None:
    """There was no hmm_range_wait_until_valid()."""


MUTANT = Mutant(
    "b13",
    "a new range reads the old PTE between start and the change, and nothing makes it invalid",
    "seed patch; 'improve driver API to work and wait over a range'",
    "mirror_fault_x_invalidate",
    "Stale",
    [(hm, "_range_begin", blind), (hm, "hmm_mirror_wait_idle", no_wait)],
)
