"""Memory failure: a page that the hardware reports broken leaves use for good (mm/memory-failure.c)."""

from __future__ import annotations

import errno

from sw_model.phys import PG_ANON, PG_HUGETLB, PG_HWPOISON, PG_ZONE_DEVICE, PhysMem
from sw_model.reclaim import try_to_unmap
from sw_model.thp import split_folio

EHWPOISON = 133


async def memory_failure(phys: PhysMem, pfn: int) -> int:
    """memory_failure(): 0; entries of the page are poisoned, event CLEAR, and its frame is not used again.

    Who accesses the page afterwards, through the CPU or a device, gets VM_FAULT_HWPOISON. -ENXIO: device
    memory. -EBUSY: not an anonymous page, locked, or one that a device has exclusively. -EHWPOISON: again.
    """
    head = int(phys.head[pfn])
    if phys.flags[head] & PG_ZONE_DEVICE:
        return -errno.ENXIO
    if phys.refcount[head] <= 0 or phys.flags[head] & (PG_ANON | PG_HUGETLB) != PG_ANON:
        return -errno.EBUSY
    if phys.flags[pfn] & PG_HWPOISON:
        return -EHWPOISON
    phys.get_page(pfn)
    if await split_folio(phys, pfn) or not phys.trylock_page(pfn):
        phys.put_page(pfn)
        return -errno.EBUSY
    if not phys.free_swap_of(pfn):
        phys.unlock_page(pfn)
        phys.put_page(pfn)
        return -errno.EBUSY
    phys.flags[pfn] |= PG_HWPOISON
    gone = await try_to_unmap(phys, pfn, hwpoison=True)
    phys.unlock_page(pfn)
    if not gone:
        phys.flags[pfn] &= ~PG_HWPOISON & 0xFFFFFFFF
        phys.put_page(pfn)
        return -errno.EBUSY
    return 0


def unpoison_memory(phys: PhysMem, pfn: int) -> None:
    """unpoison_memory(): the frame may be used again; poisoned entries stay poisoned."""
    phys.flags[pfn] &= ~PG_HWPOISON & 0xFFFFFFFF
    phys.put_page(pfn)
