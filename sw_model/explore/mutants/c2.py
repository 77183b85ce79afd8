"""C2: dmirror maps a device-exclusive page without a read section."""

from __future__ import annotations

from typing import Any

from sw_model.devmem import make_device_exclusive
from sw_model.dmirror import TAG_ATOMIC, Dmirror
from sw_model.explore.config import Mutant
from sw_model.fault import release_page
from sw_model.pagetable import PAGE_SHIFT


async def map_exclusive(self: Any, addr: int) -> int:
    """dmirror_exclusive(), dmirror_atomic_map(): what make_device_exclusive() returned is stored."""
    pfn = await make_device_exclusive(self.mm, addr, self.device)
    if pfn < 0:
        return pfn
    await self.map_pages({addr >> PAGE_SHIFT: (pfn, TAG_ATOMIC)}, lambda: True)
    self.phys.unlock_page(pfn)
    release_page(self.phys, pfn)
    return 0


MUTANT = Mutant(
    "c2",
    "MADV_DONTNEED between make_device_exclusive() and the device's entry: the device maps a freed page",
    "lib/test_hmm.c:dmirror_exclusive, dmirror_atomic_map; confirmed on Linux 6.1.192",
    "dm_exclusive_x_dontneed",
    "Stale",
    [(Dmirror, "_map_exclusive", map_exclusive)],
    entries=("C2",),
)
