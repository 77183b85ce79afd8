"""Reclaim: reverse-map unmapping, swap-out, dropping of file pages (mm/rmap.c, mm/vmscan.c)."""

from __future__ import annotations

import random

from sw_model.fault import release_page
from sw_model.mmu_notifier import (
    MmuNotifierRange,
    MmuNotifyEvent,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from sw_model.pagetable import (
    DEVP,
    EXCL,
    HAS_PAGE,
    HPAGE,
    HPAGE_NR,
    HWPOISON,
    MIG,
    PAGE_SIZE,
    PN,
    PS,
    SWAP,
    ZERO,
    A,
    D,
    P,
    W,
)
from sw_model.phys import (
    PG_ANON,
    PG_DEVICE_PRIVATE,
    PG_DIRTY,
    PG_EXCL,
    PG_HUGE,
    PG_LAZYFREE,
    PG_RESERVED,
    PG_ZONE_DEVICE,
    PhysMem,
)
from sw_model.sched import point
from sw_model.thp import split_folio, split_huge_pmd
from sw_model.vma import VM_ACCESS, VM_WRITE, Vma

_NOT_EXCL = ~PG_EXCL & 0xFFFFFFFF
_NOT_DIRTY = ~PG_DIRTY & 0xFFFFFFFF


async def try_to_unmap(
    phys: PhysMem, pfn: int, slot: int = -1, migrate: bool = False, nr: int = 1, hwpoison: bool = False
) -> bool:
    """Remove every mapping of the page (of `nr` pages of its folio); True when none is left.

    Entries become swap entries of `slot`, migration entries, poisoned ones, or none. The folio is locked and
    the caller holds a reference, so the mappings' references, dropped before invalidate_range_end as in
    Linux, never free it. Event CLEAR, once for each contiguous run in a process. Models try_to_unmap,
    try_to_migrate.
    """
    head = int(phys.head[pfn])
    if nr == 1:
        for mm, haddr in list(phys.rmap_pmd.get(head, ())):
            await split_huge_pmd(mm, haddr)
        runs = [(mm, a, a + PAGE_SIZE, pfn) for mm, a in phys.rmap.get(pfn, ())]
    else:
        runs = []
        for p in range(pfn, pfn + nr):
            for mm, a in phys.rmap.get(p, ()):
                for k, (rmm, lo, hi, first) in enumerate(runs):
                    if rmm is mm and hi == a and p - first == (a - lo) // PAGE_SIZE:
                        runs[k] = (mm, lo, a + PAGE_SIZE, first)
                        break
                else:
                    runs.append((mm, a, a + PAGE_SIZE, p))
    for mm, lo, hi, first in runs:
        pages = range(first, first + (hi - lo) // PAGE_SIZE)
        if not any((mm, lo + (p - first) * PAGE_SIZE) in phys.rmap.get(p, ()) for p in pages):
            continue
        mm.rmap_get()
        r = MmuNotifierRange(mm, lo, hi, MmuNotifyEvent.CLEAR)
        await mmu_notifier_invalidate_range_start(r)
        await mm.page_table_lock.lock()
        await point("pte", mm)
        t = mm.pt.pte_table(lo)
        addr = lo
        for p in pages:
            if t is None or addr & 0x1FFFFF == 0:
                t = mm.pt.pte_table(addr)
            if t is not None:
                _unmap_one(phys, mm, t, addr, p, slot, migrate, hwpoison)
            addr += PAGE_SIZE
        mm.page_table_lock.unlock()
        await mmu_notifier_invalidate_range_end(r)
        mm.rmap_put()
    return not phys.mapcount[pfn : pfn + nr].any()


def _unmap_one(
    phys: PhysMem, mm, t: list, addr: int, pfn: int, slot: int, migrate: bool, hwpoison: bool
) -> None:
    i = (addr >> 12) & 511
    e = t[i]
    if e >> 12 != pfn or e & ZERO or not e & (HAS_PAGE | (DEVP if migrate else 0)):
        return  # a device-exclusive entry stays: it only goes when the CPU asks for the page
    head = int(phys.head[pfn])
    anon = bool(phys.flags[head] & PG_ANON)
    excl = EXCL if anon and phys.flags[pfn] & PG_EXCL else 0
    if migrate:
        mm.set_pte(t, i, addr, (pfn << 12) | MIG | excl | (e & (W | A | D)))
        phys.add_mig(pfn, mm, addr)
    elif hwpoison:
        mm.set_pte(t, i, addr, (pfn << 12) | HWPOISON)
    elif slot >= 0:
        mm.set_pte(t, i, addr, (slot << 12) | SWAP | excl)
        phys.swap.dup(slot)
    else:
        mm.set_pte(t, i, addr, 0)
        if anon and (e & D or phys.flags[head] & PG_DIRTY or phys.refcount[head] != 1 + phys.mapcount[pfn]):
            mm.set_pte(t, i, addr, e)  # MADV_FREE'd, but written or pinned since: it is kept
            if e & D or phys.flags[head] & PG_DIRTY:
                phys.flags[head] = int(phys.flags[head]) & ~PG_LAZYFREE
            return
    if e & D:
        phys.flags[head] |= PG_DIRTY
    if excl:
        phys.flags[pfn] &= _NOT_EXCL
    phys.del_rmap(pfn, mm, addr)
    phys.put_page(pfn)


async def remove_migration_ptes(phys: PhysMem, old: int, new: int) -> None:
    """Turn every migration entry of `old` into a mapping of `new`; sends no event (remove_migration_ptes)."""
    while old in phys.rmap_mig:
        mm, addr = phys.rmap_mig[old][0]
        mm.rmap_get()
        await mm.page_table_lock.lock()
        if (mm, addr) in phys.rmap_mig.get(old, ()):
            t = mm.pt.pte_table(addr)
            i = (addr >> 12) & 511
            e = t[i]
            assert e & MIG and e >> 12 == old
            vma = mm.vma_list.lookup(addr)
            flags = vma.vm_flags if vma is not None else 0
            bits = (e & (A | D)) | (P if flags & VM_ACCESS else PN)
            if e & EXCL:
                phys.flags[new] |= PG_EXCL
            if e & W and flags & VM_WRITE:
                bits |= W
            phys.get_page(new)
            phys.add_rmap(new, mm, addr)
            phys.del_mig(old, mm, addr)
            if phys.flags[phys.head[new]] & PG_DEVICE_PRIVATE:
                bits = DEVP | (bits & W)
            mm.set_pte(t, i, addr, (new << 12) | bits)
        mm.page_table_lock.unlock()
        mm.rmap_put()


async def remove_migration_huge(phys: PhysMem, old: int, new: int) -> None:
    """remove_migration_ptes() of a 2-MiB folio: a leaf where all 512 entries are left, else an entry each."""
    for mm, addr in list(phys.rmap_mig.get(old, ())):
        mm.rmap_get()
        await mm.page_table_lock.lock()
        t, vma = mm.pt.pte_table(addr), mm.vma_list.lookup(addr)
        whole = vma is not None and not addr & (HPAGE - 1) and addr + HPAGE <= vma.vm_end
        if whole and t is not None and all(e & MIG and e >> 12 == old + k for k, e in enumerate(t)):
            _map_leaf(phys, mm, vma, addr, t, old, new)
        mm.page_table_lock.unlock()
        mm.rmap_put()
    for k in range(HPAGE_NR):
        await remove_migration_ptes(phys, old + k, new + k)


def _map_leaf(phys: PhysMem, mm, vma: Vma, addr: int, t: list, old: int, new: int) -> None:
    """remove_migration_pmd(). The table stays as it is, for a fault that still holds it."""
    e = t[0]
    bits = PS | (P if vma.vm_flags & VM_ACCESS else PN)
    if e & EXCL:
        phys.flags[new] |= PG_EXCL
    if e & W and vma.vm_flags & VM_WRITE:
        bits |= W | (e & D)
    if phys.flags[new] & PG_DEVICE_PRIVATE:
        bits = PS | DEVP | (bits & W)
    phys.get_page(new)
    phys.add_rmap_pmd(new, mm, addr)
    for k in range(HPAGE_NR):
        phys.del_mig(old + k, mm, addr + k * PAGE_SIZE)
    mm.set_huge(addr, (new << 12) | bits)


async def reclaim_folio(phys: PhysMem, pfn: int) -> int:
    """Try to free the page `pfn`; frames freed (0 or 1). Consumes a reference (shrink_folio_list)."""
    if phys.order_of(pfn) and await split_folio(phys, pfn):
        phys.put_page(pfn)
        return 0
    if not phys.trylock_page(pfn):
        phys.put_page(pfn)
        return 0
    if phys.flags[pfn] & (PG_RESERVED | PG_HUGE | PG_ZONE_DEVICE):
        done = False
    elif phys.flags[pfn] & PG_ANON:
        done = await _reclaim_anon(phys, pfn)
    elif pfn in phys.mapping:
        done = await _reclaim_file(phys, pfn)
    else:
        done = False
    phys.unlock_page(pfn)
    freed = release_page(phys, pfn)
    phys.stats["reclaim"] += bool(done and freed)
    return int(freed)


async def _reclaim_anon(phys: PhysMem, pfn: int) -> bool:
    if phys.flags[pfn] & PG_LAZYFREE and pfn not in phys.slot_of:
        if await try_to_unmap(phys, pfn):
            return True
        if phys.flags[pfn] & PG_LAZYFREE:
            return False
    slot = phys.slot_of.get(pfn)
    if slot is None:
        try:
            slot = phys.swap.alloc()
        except OSError:
            return False
        phys.add_to_swap_cache(pfn, slot)
    await try_to_unmap(phys, pfn, slot=slot)
    await point("io", phys)
    if phys.mapcount[pfn] or phys.refcount[pfn] != 2:
        phys.free_swap_of(pfn)
        return False
    if phys.swap.count[slot]:
        phys.swap.data[slot] = phys.page_view(pfn).tobytes()
        phys.stats["swap_out"] += 1
    phys.del_from_swap_cache(pfn)
    return True


async def _reclaim_file(phys: PhysMem, pfn: int) -> bool:
    file, index = phys.mapping[pfn]
    if not await try_to_unmap(phys, pfn):
        return False
    await point("io", file)
    if phys.mapcount[pfn] or phys.refcount[pfn] != 2:
        return False
    if phys.flags[pfn] & PG_DIRTY:
        phys.flags[pfn] &= _NOT_DIRTY
        file.store_page(index, pfn)
    file.remove_page(index, pfn)
    return True


async def reclaim_pages(phys: PhysMem, n: int, rng: random.Random | None = None) -> int:
    """Free up to `n` frames, chosen at random with `rng` (default: the memory's own); frames freed.

    The entry point of memory pressure (try_to_free_pages): anonymous pages go to swap, file pages are
    written back and dropped. Every unmapping sends CLEAR.
    """
    rng = rng or phys.rng
    freed = 0
    tries = 4 * n + 8
    folios = phys.folios()
    while freed < n and tries > 0 and len(folios):
        tries -= 1
        pfn = int(folios[int(rng.random() * len(folios))])
        if phys.refcount[pfn] <= 0 or phys.head[pfn] != pfn:
            continue
        if phys.order_of(pfn):
            pfn += int(rng.random() * 512)
        phys.get_page(pfn)
        freed += await reclaim_folio(phys, pfn)
        if tries % 32 == 0:
            folios = phys.folios()
    return freed


async def swap_out(phys: PhysMem, pfn: int) -> bool:
    """Reclaim one page; True when its frame was freed."""
    if phys.refcount[phys.head[pfn]] <= 0:
        return False
    phys.get_page(pfn)
    return bool(await reclaim_folio(phys, pfn))
