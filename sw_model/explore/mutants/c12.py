"""C12: dmirror's fault path maps the device-private page itself, which has no memory, not its backing."""

from __future__ import annotations

from typing import Any

import numpy as np

from sw_model.dmirror import TAG_READ, TAG_WRITE, Dmirror
from sw_model.driver import SvmDriver
from sw_model.explore.config import Mutant
from sw_model.hmm import HMM_PFN_MASK, HMM_PFN_WRITE


def map_faulted(self: Any, vpn: int, hmm_pfn: int) -> None:
    """dmirror_do_fault(): the page that hmm_range_fault() returned."""
    self.pt[vpn] = hmm_pfn & HMM_PFN_MASK, TAG_WRITE if hmm_pfn & HMM_PFN_WRITE else TAG_READ


def frames(self: Any, pfns: Any) -> tuple[list[int], list[bool]]:
    """The same in SvmDriver: the frames are the pfns."""
    return (pfns & np.uint64(HMM_PFN_MASK)).astype(np.int64).tolist(), [False] * len(pfns)


MUTANT = Mutant(
    "c12",
    "the device reads a device-private page where there is no memory",
    "lib/test_hmm.c:dmirror_do_fault; confirmed on Linux 6.1.192",
    "dm_operations",
    "Oops",
    [(Dmirror, "_map_faulted", map_faulted), (SvmDriver, "_frames", frames)],
    entries=("C12",),
    shows="no memory there",
)
