"""The HMM mirror API as merged: "mm/hmm: use reference counting for HMM struct" v3, Linux 704f3f2cf63c.

A model of old code, for the explorer; sw_model.hmm_mirror is the version to use. It is sw_model.hmm_v1 with

- other names: mm_get_hmm() for hmm_get(), which answers the review's question about symmetry by name only,
  and hmm_get_or_create() for hmm_register();
- hmm_invalidate_range_start() and _end() that do not ask whether hmm->mm is NULL: no lost reference (B1).

hmm_vma_get_pfns(), hmm_vma_fault() and hmm_vma_range_done() still ask. All other bugs of v1 are in it.
"""

from __future__ import annotations

from sw_model.hmm_mirror import StructHmm
from sw_model.hmm_v1 import HmmV1


class HmmV3(HmmV1):
    """mm/hmm.c with the merged patch."""

    mm_get_hmm = HmmV1.hmm_get
    hmm_get_or_create = HmmV1.hmm_register

    def destroyed(self, hmm: StructHmm) -> bool:
        """Not asked."""
        return False


V3 = HmmV3()
