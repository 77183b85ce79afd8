"""C9: an invalidation erases one page too many; refilled, that page is C12's."""

from __future__ import annotations

from typing import Any

from sw_model.dmirror import Dmirror
from sw_model.explore.config import Mutant
from sw_model.explore.mutants.c12 import map_faulted
from sw_model.pagetable import PAGE_SIZE

do_update = Dmirror.erase


def erase(self: Any, start: int, end: int, keep_own: bool = False) -> None:
    """dmirror_do_update(): xa_for_each_range() with the end as its last index."""
    do_update(self, start, end + PAGE_SIZE, keep_own)


MUTANT = Mutant(
    "c9",
    "MADV_DONTNEED of a page takes its neighbour away too, and the fault that follows is C12's",
    "lib/test_hmm.c:dmirror_do_update; confirmed on Linux 6.1.192",
    "dm_zap",
    "Oops",
    [(Dmirror, "erase", erase), (Dmirror, "_map_faulted", map_faulted)],
    entries=("C9",),
    shows="no memory there",
)
