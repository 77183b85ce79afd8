"""Same-page merging as KSM does it: write-protect two pages, compare, let both map one (mm/ksm.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from sw_model.fault import release_page
from sw_model.mmu_notifier import (
    MmuNotifierRange,
    MmuNotifyEvent,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from sw_model.pagetable import PAGE_MASK, PAGE_SIZE, ZERO, D, P, W
from sw_model.phys import PG_ANON, PG_DIRTY, PG_EXCL, PG_KSM, PG_ZONE_DEVICE
from sw_model.sched import point

if TYPE_CHECKING:
    from sw_model.mm import MmStruct


async def _get_anon(mm: MmStruct, addr: int) -> int:
    """The small anonymous page at `addr` with a reference, or -1."""
    pfn = -1
    async with mm.page_table_lock:
        t = mm.pt.pte_table(addr)
        e = t[(addr >> 12) & 511] if t is not None else 0
        lru = mm.phys.flags[e >> 12] & (PG_ANON | PG_ZONE_DEVICE) == PG_ANON if e & P else False
        if lru and not e & ZERO and not mm.phys.order_of(e >> 12):
            pfn = e >> 12
            mm.phys.get_page(pfn)
    return pfn


async def write_protect(mm: MmStruct, addr: int, pfn: int) -> bool:
    """Make the PTE of `pfn` at `addr` read-only and clean; False when it is pinned or gone. Event CLEAR.

    The caller holds one reference and the folio lock. Models write_protect_page.
    """
    phys = mm.phys
    r = MmuNotifierRange(mm, addr, addr + PAGE_SIZE, MmuNotifyEvent.CLEAR)
    await mmu_notifier_invalidate_range_start(r)
    ok = False
    async with mm.page_table_lock:
        await point("pte", mm)
        t = mm.pt.pte_table(addr)
        i = (addr >> 12) & 511
        e = t[i] if t is not None else 0
        if e & P and e >> 12 == pfn:
            ok = phys.refcount[pfn] == phys.expected_refs(pfn) + 1
            if ok:
                if e & D:
                    phys.flags[pfn] |= PG_DIRTY
                phys.flags[pfn] &= ~PG_EXCL & 0xFFFFFFFF
                mm.set_pte(t, i, addr, e & ~(W | D))
    await mmu_notifier_invalidate_range_end(r)
    return bool(ok)


async def merge_pages(mm1: MmStruct, addr1: int, mm2: MmStruct, addr2: int) -> int:
    """Let `addr2` map the page of `addr1` when both hold the same bytes; 0 or -errno.

    -ENOENT: no small anonymous page there. -EAGAIN: locked, pinned or changed. -EINVAL: contents differ, or
    the page is shared already. Models try_to_merge_two_pages (write_protect_page on both, replace_page).
    """
    phys = mm1.phys
    addr1 &= PAGE_MASK
    addr2 &= PAGE_MASK
    mms = sorted({mm1, mm2}, key=lambda m: m.mm_id)  # one lock order for everybody
    for mm in mms:
        await mm.mmap_lock.down_read()
    try:
        ret, drop = await _merge(mm1, addr1, mm2, addr2)
    finally:
        for mm in mms:
            mm.mmap_lock.up_read()
    for pfn in drop:
        release_page(phys, pfn)
    return ret


async def _merge(mm1: MmStruct, addr1: int, mm2: MmStruct, addr2: int) -> tuple[int, list[int]]:
    phys = mm1.phys
    kpage = await _get_anon(mm1, addr1)
    if kpage < 0:
        return -errno.ENOENT, []
    page = await _get_anon(mm2, addr2)
    if page < 0 or page == kpage:
        return (-errno.ENOENT if page < 0 else -errno.EINVAL), [p for p in (kpage, page) if p >= 0]
    drop = [kpage, page]
    if not phys.trylock_page(kpage):
        return -errno.EAGAIN, drop
    if not phys.trylock_page(page):
        phys.unlock_page(kpage)
        return -errno.EAGAIN, drop
    ret = -errno.EAGAIN
    single = phys.mapcount[page] == 1 and (phys.mapcount[kpage] == 1 or phys.flags[kpage] & PG_KSM)
    if not single:
        ret = -errno.EINVAL
    elif await write_protect(mm1, addr1, kpage) and await write_protect(mm2, addr2, page):
        if phys.page_view(kpage).tobytes() != phys.page_view(page).tobytes():
            ret = -errno.EINVAL
        else:
            ret = await _replace(mm2, addr2, page, kpage, drop)
    phys.unlock_page(page)
    phys.unlock_page(kpage)
    return ret, drop


async def _replace(mm: MmStruct, addr: int, page: int, kpage: int, drop: list[int]) -> int:
    """replace_page(): event CLEAR; the old page's mapping reference goes to `drop`, after the end."""
    phys = mm.phys
    r = MmuNotifierRange(mm, addr, addr + PAGE_SIZE, MmuNotifyEvent.CLEAR)
    await mmu_notifier_invalidate_range_start(r)
    ret = -errno.EAGAIN
    async with mm.page_table_lock:
        t = mm.pt.pte_table(addr)
        i = (addr >> 12) & 511
        e = t[i] if t is not None else 0
        if e & P and e >> 12 == page and not e & W:
            phys.flags[kpage] |= PG_KSM
            mm.set_pte(t, i, addr, 0)
            await point("pte", mm)
            phys.get_page(kpage)
            phys.add_rmap(kpage, mm, addr)
            phys.del_rmap(page, mm, addr)
            mm.set_pte(t, i, addr, (kpage << 12) | (e & 0xFFF & ~(W | D)))
            drop.append(page)
            phys.stats["ksm"] += 1
            ret = 0
    await mmu_notifier_invalidate_range_end(r)
    return ret
