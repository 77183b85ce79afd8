"""get_user_pages(): references on the pages behind a user address, short and long term (mm/gup.c).

A page in device-private memory has no entry that the CPU can use, so getting it faults it back. A device-
coherent page is ordinary memory to a short reference; a long-term pin first moves it to system memory, since
it would hold the device's memory for ever. Errors are raised as OSError(errno).
"""

from __future__ import annotations

import errno
from typing import Any

from sw_model.devmem import (
    MIGRATE_PFN_MIGRATE,
    get_user_page,
    migrate_device_finalize,
    migrate_device_pages,
    migrate_device_unmap,
    migrate_pfn,
)
from sw_model.fault import release_page
from sw_model.pagetable import PAGE_SIZE, P, W
from sw_model.phys import PG_ZONE_DEVICE, PhysMem
from sw_model.sched import point
from sw_model.thp import split_folio

FOLL_WRITE, FOLL_LONGTERM = 0x1, 0x100


async def get_user_pages(mm: Any, addr: int, nr: int, flags: int = 0) -> list[int]:
    """pin_user_pages() of `nr` pages from `addr`: their pfns, each with a reference; takes mmap_lock.

    FOLL_WRITE breaks copy-on-write; FOLL_LONGTERM moves device-coherent pages to system memory.
    Raises OSError: EFAULT (no mapping, or no permission), ENOMEM (also: a page cannot be moved).
    """
    out: list[int] = []
    while len(out) < nr:
        async with mm.mmap_lock.read():
            pfn = await get_user_page(mm, addr + len(out) * PAGE_SIZE, bool(flags & FOLL_WRITE))
        if pfn >= 0 and flags & FOLL_LONGTERM and mm.phys.flags[mm.phys.head[pfn]] & PG_ZONE_DEVICE:
            # check_and_migrate_movable_pages(): the reference goes, the page moves, and it is taken again.
            pfn = await _migrate_device_coherent(mm.phys, pfn)
            if pfn == 0:
                continue
        if pfn < 0:
            put_user_pages(mm.phys, out)
            raise OSError(-pfn, f"get_user_pages at {addr + len(out) * PAGE_SIZE:#x}")
        out.append(pfn)
    return out


async def get_user_pages_fast(mm: Any, addr: int, nr: int, flags: int = 0) -> list[int]:
    """pin_user_pages_fast(): a walk without locks while the entries allow it, then get_user_pages()."""
    phys = mm.phys
    out: list[int] = []
    while len(out) < nr:
        await point("pte", mm)
        at = addr + len(out) * PAGE_SIZE
        e = mm.pt.entry(at)
        if not e & P or (flags & FOLL_WRITE and not e & W):
            break
        pte = mm.pt.lookup(at)
        if flags & FOLL_LONGTERM and phys.flags[phys.head[pte.pfn]] & PG_ZONE_DEVICE:
            break
        phys.get_page(pte.pfn)
        out.append(pte.pfn)
    try:
        return out + await get_user_pages(mm, addr + len(out) * PAGE_SIZE, nr - len(out), flags)
    except OSError:
        put_user_pages(phys, out)
        raise


def put_user_pages(phys: PhysMem, pages: list[int]) -> None:
    """unpin_user_pages()."""
    for pfn in pages:
        release_page(phys, pfn)


async def _migrate_device_coherent(phys: PhysMem, pfn: int) -> int:
    """migrate_device_coherent_folio(): 0, or -ENOMEM/-EBUSY. Consumes the caller's reference."""
    if await split_folio(phys, pfn):
        release_page(phys, pfn)
        return -errno.EBUSY
    await phys.lock_page(pfn)
    src, dst = [migrate_pfn(pfn) | MIGRATE_PFN_MIGRATE], [0]
    await migrate_device_unmap(phys, src)
    if not src[0]:
        return -errno.EBUSY
    new = await phys.alloc_page()
    if new >= 0:
        phys.trylock_page(new)
        phys.copy_pages(new, pfn)
        dst[0] = migrate_pfn(new)
    await migrate_device_pages(phys, src, dst)
    moved = bool(src[0] & MIGRATE_PFN_MIGRATE)
    await migrate_device_finalize(phys, src, dst)
    if moved:
        return 0
    return -errno.ENOMEM if new < 0 else -errno.EBUSY
