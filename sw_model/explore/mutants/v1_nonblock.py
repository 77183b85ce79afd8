"""The old versions wait for mirrors_sem in every invalidation, also where nothing may block."""

from __future__ import annotations

from sw_model.explore.config import Mutant

MUTANT = Mutant(
    "v1_nonblock",
    "hmm_invalidate_range() may sleep for mirrors_sem although the invalidation must not block",
    "read; a comment in mm/hmm.c of 5.0 says that it is short",
    "v1_nonblock_x_fault",
    "KernelBug",
    shows="may sleep for mirrors",
)
