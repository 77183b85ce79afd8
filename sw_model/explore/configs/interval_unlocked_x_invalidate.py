"""hmm_range_fault_unlocked_timeout() of one page of two; the other one is reclaimed meanwhile."""

from __future__ import annotations

from sw_model.explore.config import Config
from sw_model.explore.hmm_world import HmmMm, unlocked_build

CONFIG = Config(
    "interval_unlocked_x_invalidate",
    "hmm_range_fault_unlocked_timeout() of one page of two; the other one is reclaimed meanwhile.",
    "interval",
    unlocked_build(drop=False),
    tracked=(HmmMm,),
)
