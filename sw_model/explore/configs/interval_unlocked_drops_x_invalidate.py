"""As interval_unlocked_x_invalidate, with a fault handler that drops mmap_lock (userfaultfd)."""

from __future__ import annotations

from sw_model.explore.config import Config
from sw_model.explore.hmm_world import HmmMm, unlocked_build

CONFIG = Config(
    "interval_unlocked_drops_x_invalidate",
    "As interval_unlocked_x_invalidate, with a fault handler that drops mmap_lock (userfaultfd).",
    "interval",
    unlocked_build(drop=True),
    tracked=(HmmMm,),
)
