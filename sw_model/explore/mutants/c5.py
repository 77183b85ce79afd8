"""C5: what a walk has stored is taken for requests when the range is walked again."""

from __future__ import annotations

from typing import Any

from sw_model import hmm
from sw_model.explore.config import Mutant


def keep(rng: Any, requests: Any) -> None:
    """The pfns are not initialised again: VALID is REQ_FAULT, WRITE is REQ_WRITE."""


MUTANT = Mutant(
    "c5",
    "after a collision with an invalidation, pages are faulted in that nobody asked for",
    "reading of Linux 7.3.4, mm/hmm.c:hmm_range_fault_unlocked_timeout; only where pfn_flags_mask is not 0",
    "interval_unlocked_x_invalidate",
    "Assertion",
    [(hmm, "restore_requests", keep)],
    entries=("C5",),
    shows="nobody asked",
)
