"""Transparent huge pages: map, split a huge leaf, split a folio, collapse (huge_memory.c, khugepaged.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from sw_model.mmu_notifier import (
    MmuNotifierRange,
    MmuNotifyEvent,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from sw_model.pagetable import DEVICE, DEVP, HPAGE, HPAGE_NR, MIG, PAGE_SIZE, PN, PS, SWAP, ZERO, A, D, P, W
from sw_model.phys import PG_ANON, PG_DIRTY, PG_EXCL, PG_HUGE, PG_HUGETLB, PG_ZONE_DEVICE, PhysMem
from sw_model.sched import point
from sw_model.vma import VM_ACCESS, VM_WRITE, Vma

if TYPE_CHECKING:
    from sw_model.mm import MmStruct


def map_huge(mm: MmStruct, vma: Vma, haddr: int, head: int) -> None:
    """Map a new anonymous 2-MiB page; the caller's reference becomes the mapping's. page_table_lock held."""
    vma.anon_vma = True
    mm.phys.flags[head] |= PG_ANON | PG_EXCL | PG_HUGE
    mm.phys.add_rmap_pmd(head, mm, haddr)
    mm.set_huge(haddr, (head << 12) | P | A | PS | ((W | D) if vma.vm_flags & VM_WRITE else 0))


async def split_huge_pmd(mm: MmStruct, haddr: int) -> bool:
    """Replace a huge leaf by 512 PTEs of the same, still compound, page; False when there was none.

    Event CLEAR over the 2 MiB, nested where the caller is inside an invalidation. Models __split_huge_pmd.
    """
    phys = mm.phys
    mm.rmap_get()
    r = MmuNotifierRange(mm, haddr, haddr + HPAGE, MmuNotifyEvent.CLEAR)
    await mmu_notifier_invalidate_range_start(r)
    await mm.page_table_lock.lock()
    e = mm.pt.pmd_entry(haddr)
    done = type(e) is int and e != 0
    if done:
        head = e >> 12
        bits = e & (P | W | PN | DEVP)
        if not e & DEVP:
            # Not present but not none either, so that a fault waits for the lock (pmdp_invalidate).
            mm.set_huge(haddr, e & ~(P | W) | PN)
            await point("pte", mm)
            e = mm.pt.pmd_entry(haddr) & (A | D) | e
        bits |= e & (A | D)
        phys.refcount[head] += HPAGE_NR - 1
        if phys.flags[head] & PG_EXCL:
            phys.flags[head : head + HPAGE_NR] |= PG_EXCL
        phys.del_rmap_pmd(head, mm, haddr)
        phys.mapcount[head : head + HPAGE_NR] += 1
        for k in range(HPAGE_NR):
            phys.rmap.setdefault(head + k, []).append((mm, haddr + k * PAGE_SIZE))
        mm.set_huge(haddr, [((head + k) << 12) | bits for k in range(HPAGE_NR)])
        if bits & P and phys.on_pte_set is not None:
            phys.on_pte_set(mm, haddr, head, HPAGE_NR, bool(bits & W))
    mm.page_table_lock.unlock()
    await mmu_notifier_invalidate_range_end(r)
    mm.rmap_put()
    return bool(done)


async def split_folio(phys: PhysMem, pfn: int) -> int:
    """Split a 2-MiB folio into 512 pages; 0, -EAGAIN (pinned, locked or in flux) or -EINVAL (hugetlb).

    The caller holds one reference, which stands on `pfn` afterwards. Sub-pages that nothing maps are freed.
    Models split_huge_page: all mappings become migration entries meanwhile.
    """
    from sw_model.reclaim import remove_migration_ptes, try_to_unmap

    head = int(phys.head[pfn])
    if not phys.flags[head] & PG_HUGE:
        return 0
    if phys.flags[head] & PG_HUGETLB:
        return -errno.EINVAL
    if not phys.trylock_page(head):
        return -errno.EAGAIN
    if phys.refcount[head] != phys.expected_refs(head, HPAGE_NR) + 1:
        phys.unlock_page(head)
        return -errno.EAGAIN
    for mm, haddr in list(phys.rmap_pmd.get(head, ())):
        await split_huge_pmd(mm, haddr)
    await try_to_unmap(phys, head, migrate=True, nr=HPAGE_NR)
    ok = phys.refcount[head] == 1 and not phys.mapcount[head : head + HPAGE_NR].any()
    if ok:
        phys.split_compound(head)
        phys.stats["split"] += 1
    for p in range(head, head + HPAGE_NR):
        await remove_migration_ptes(phys, p, p)
    phys.unlock_page(head)
    if not ok:
        return -errno.EAGAIN
    for p in range(head, head + HPAGE_NR):
        if p != pfn:
            phys.put_page(p)
    return 0


async def collapse_huge_page(mm: MmStruct, haddr: int) -> int:
    """Copy the pages of an aligned 2-MiB range into one huge page; 0 or -errno (khugepaged, MADV_COLLAPSE).

    -EINVAL: not one accessible anonymous VMA, or nothing mapped. -ENOMEM: no huge page. -EAGAIN: a page is
    pinned, locked, swapped or migrating. Event CLEAR; it ends before the copy, since mmap_lock, held for
    writing, keeps faults (a device's too) away.
    """
    phys = mm.phys
    head = phys.alloc_huge()
    if head < 0:
        return -errno.ENOMEM
    await mm.mmap_lock.down_write()
    try:
        ret = await _collapse(mm, haddr, head)
    finally:
        mm.mmap_lock.up_write()
    if ret:
        phys.put_page(head)
    else:
        phys.stats["collapse"] += 1
    return ret


async def _collapse(mm: MmStruct, haddr: int, new: int) -> int:
    phys = mm.phys
    vma = mm.vma_list.lookup(haddr)
    if vma is None or not vma.is_anon or not vma.vm_flags & VM_ACCESS or haddr + HPAGE > vma.vm_end:
        return -errno.EINVAL
    table = mm.pt.pte_table(haddr)
    if table is None:
        return -errno.EINVAL
    for i in range(HPAGE_NR):
        if table[i] & SWAP:
            await mm.handle_mm_fault(vma, haddr + i * PAGE_SIZE, False)
    r = MmuNotifierRange(mm, haddr, haddr + HPAGE, MmuNotifyEvent.CLEAR)
    await mmu_notifier_invalidate_range_start(r)
    await mm.page_table_lock.lock()
    mm.pt.set_pmd(haddr, 0)  # pmdp_collapse_flush: from here no CPU walks the table
    mm.generation += 1
    if phys.on_pte_clear is not None:
        phys.on_pte_clear(mm, haddr, HPAGE_NR)
    mm.page_table_lock.unlock()
    await mmu_notifier_invalidate_range_end(r)
    await mm.page_table_lock.lock()
    locked = _isolate(phys, table)
    if locked is None:
        mm.pt.set_pmd(haddr, table)
        for i, e in enumerate(table):
            if e & P and phys.on_pte_set is not None:
                phys.on_pte_set(mm, haddr + i * PAGE_SIZE, e >> 12, 1, bool(e & W))
            elif e & (DEVICE | MIG):
                mm.device_entry(haddr + i * PAGE_SIZE, e, 1)
        mm.page_table_lock.unlock()
        return -errno.EAGAIN
    mm.page_table_lock.unlock()
    await point("collapse", mm)
    from sw_model.fault import release_page

    old = []
    for i, e in enumerate(table):
        if e == 0 or e & ZERO:
            phys.page_view(new + i)[:] = 0
        else:
            phys.copy_pages(new + i, e >> 12)
    await mm.page_table_lock.lock()
    for i, e in enumerate(table):
        if e and not e & ZERO:
            phys.del_rmap(e >> 12, mm, haddr + i * PAGE_SIZE)
            old.append(e >> 12)
    phys.flags[new] |= PG_DIRTY
    map_huge(mm, vma, haddr, new)
    mm.page_table_lock.unlock()
    for h in locked:
        phys.unlock_page(h)
    for pfn in old:
        release_page(phys, pfn)
    return 0


def _isolate(phys: PhysMem, table: list) -> set[int] | None:
    """Lock every folio of the table (__collapse_huge_page_isolate); None when one cannot be taken."""
    locked: set[int] = set()
    ok = any(e and not e & ZERO for e in table)
    for e in table:
        if e == 0 or e & ZERO:
            continue
        h = int(phys.head[e >> 12])
        lru = phys.flags[h] & (PG_ANON | PG_ZONE_DEVICE) == PG_ANON
        if not e & P or not lru or (h not in locked and not phys.trylock_page(h)):
            ok = False
            break
        if h not in locked:
            locked.add(h)
            if phys.refcount[h] != phys.expected_refs(h, HPAGE_NR if phys.flags[h] & PG_HUGE else 1):
                ok = False
                break
    if not ok:
        for h in locked:
            phys.unlock_page(h)
        return None
    return locked
