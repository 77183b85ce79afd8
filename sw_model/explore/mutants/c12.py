"""C12: dmirror's fault path maps the device-private page itself, which has no memory, not its backing."""

from __future__ import annotations

from typing import Any

from sw_model.dmirror import TAG_READ, TAG_WRITE, Dmirror
from sw_model.explore.config import Mutant
from sw_model.hmm import HMM_PFN_MASK, HMM_PFN_WRITE


def map_faulted(self: Any, vpn: int, hmm_pfn: int) -> None:
    """dmirror_do_fault(): the page that hmm_range_fault() returned."""
    self.pt[vpn] = hmm_pfn & HMM_PFN_MASK, TAG_WRITE if hmm_pfn & HMM_PFN_WRITE else TAG_READ


MUTANT = Mutant(
    "c12",
    "the device reads a device-private page where there is no memory",
    "lib/test_hmm.c:dmirror_do_fault; confirmed on Linux 6.1.192",
    "dm_operations",
    "Oops",
    [(Dmirror, "_map_faulted", map_faulted)],
    entries=("C12",),
    shows="no memory there",
)
