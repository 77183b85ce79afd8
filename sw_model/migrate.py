"""Page migration: the data moves to another frame while migration entries hold faults back (mm/migrate.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from sw_model.pagetable import HAS_PAGE, PAGE_SIZE, ZERO
from sw_model.phys import PG_ANON, PG_EXCL, PG_HUGE, PG_SWAPCACHE, PG_ZONE_DEVICE, PhysMem
from sw_model.reclaim import remove_migration_ptes, try_to_unmap
from sw_model.sched import point
from sw_model.thp import split_folio

if TYPE_CHECKING:
    from sw_model.mm import MmStruct


async def migrate_page(phys: PhysMem, pfn: int) -> int:
    """Move the page to a new frame; the new pfn, or -errno.

    -EAGAIN: pinned, locked or in flux. -ENOMEM. -ENOENT: nothing movable there. A 2-MiB folio is split
    first, as where huge migration entries are not supported. Models migrate_pages for one page.
    """
    if phys.refcount[phys.head[pfn]] <= 0 or phys.flags[pfn] & PG_ZONE_DEVICE:
        return -errno.ENOENT
    phys.get_page(pfn)
    if phys.order_of(pfn) and await split_folio(phys, pfn):
        phys.put_page(pfn)
        return -errno.EAGAIN
    new = await phys.alloc_page()
    if new < 0:
        phys.put_page(pfn)
        return -errno.ENOMEM
    ret = -errno.EAGAIN
    if phys.trylock_page(pfn):
        phys.trylock_page(new)
        if phys.flags[pfn] & PG_ANON or pfn in phys.mapping:
            ret = await _migrate_locked(phys, pfn, new)
        else:
            ret = -errno.ENOENT
        phys.unlock_page(new)
        phys.unlock_page(pfn)
    phys.put_page(pfn)
    phys.put_page(new)
    return ret


async def _migrate_locked(phys: PhysMem, old: int, new: int) -> int:
    unmapped = await try_to_unmap(phys, old, migrate=True)
    await point("migrate", phys)
    cached = (old in phys.mapping) + (old in phys.slot_of)
    if not unmapped or phys.mapcount[old] or phys.refcount[old] != 1 + cached:
        await remove_migration_ptes(phys, old, old)
        return -errno.EAGAIN
    phys.copy_pages(new, old)
    phys.flags[new] = int(phys.flags[old]) & ~(PG_EXCL | PG_HUGE | PG_SWAPCACHE)
    if old in phys.mapping:
        file, index = phys.mapping.pop(old)
        phys.mapping[new] = (file, index)
        file.pages[index] = new
        phys.get_page(new)
        phys.put_page(old)
    slot = phys.slot_of.get(old)
    if slot is not None:
        phys.get_page(old)
        phys.del_from_swap_cache(old) if not phys.swap.count[slot] else _move_swap_cache(phys, old, new, slot)
        phys.put_page(old)
    phys.stats["migrate"] += 1
    await remove_migration_ptes(phys, old, new)
    return new


def _move_swap_cache(phys: PhysMem, old: int, new: int, slot: int) -> None:
    del phys.slot_of[old]
    phys.flags[old] = int(phys.flags[old]) & ~PG_SWAPCACHE
    phys.put_page(old)
    phys.add_to_swap_cache(new, slot)


async def migrate_range(mm: MmStruct, start: int, end: int) -> int:
    """Migrate every page mapped in [start, end) (migrate_pages of a memory policy); pages moved."""
    n = 0
    async with mm.mmap_lock.read():
        for a in range(start, end, PAGE_SIZE):
            async with mm.page_table_lock:
                e = mm.pt.entry(a)
                pte = mm.pt.lookup(a)
            if e & HAS_PAGE and not e & ZERO and await migrate_page(mm.phys, pte.pfn) > 0:
                n += 1
    return n
