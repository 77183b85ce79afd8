"""madvise(2) and msync(2) (mm/madvise.c, mm/msync.c). Lengths in bytes; errors as OSError(errno)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from sw_model import thp
from sw_model.mm_ops import (
    error,
    free_swap_entry,
    has_hole,
    page_align,
    populate,
    put_files,
    zap_page_range_single,
)
from sw_model.mmu_notifier import (
    MmuNotifierRange,
    MmuNotifyEvent,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from sw_model.pagetable import HAS_PAGE, HPAGE, PAGE_SIZE, SWAP, ZERO, A, D, P
from sw_model.phys import PG_ANON, PG_DIRTY, PG_HUGE, PG_LAZYFREE, PG_ZONE_DEVICE
from sw_model.vma import (
    MADV_COLD,
    MADV_COLLAPSE,
    MADV_DOFORK,
    MADV_DONTFORK,
    MADV_DONTNEED,
    MADV_FREE,
    MADV_HUGEPAGE,
    MADV_NOHUGEPAGE,
    MADV_NORMAL,
    MADV_PAGEOUT,
    MADV_POPULATE_READ,
    MADV_POPULATE_WRITE,
    MADV_RANDOM,
    MADV_SEQUENTIAL,
    MADV_WILLNEED,
    VM_DONTCOPY,
    VM_HUGEPAGE,
    VM_HUGETLB,
    VM_NOHUGEPAGE,
    VM_SHARED,
    VM_SPECIAL,
)

if TYPE_CHECKING:
    from sw_model.mm import MmStruct


_FLAG_ADVICE = {
    MADV_HUGEPAGE: (VM_HUGEPAGE, VM_NOHUGEPAGE),
    MADV_NOHUGEPAGE: (VM_NOHUGEPAGE, VM_HUGEPAGE),
    MADV_DONTFORK: (VM_DONTCOPY, 0),
    MADV_DOFORK: (0, VM_DONTCOPY),
}
_NO_EFFECT = (MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_COLD)


async def madvise(mm: MmStruct, addr: int, length: int, advice: int) -> None:
    """madvise(2): DONTNEED, FREE, HUGEPAGE, NOHUGEPAGE, DONTFORK, DOFORK, PAGEOUT, COLLAPSE, POPULATE_*.

    Raises OSError: EINVAL (unaligned, unknown advice, FREE of a file mapping, a special VMA), ENOMEM (a part
    is not mapped; the rest has been done), EFAULT (populate failed).
    """
    end = addr + page_align(length)
    known = advice in _FLAG_ADVICE or advice in _NO_EFFECT or advice in (
        MADV_DONTNEED, MADV_FREE, MADV_PAGEOUT, MADV_POPULATE_READ, MADV_POPULATE_WRITE,
        MADV_COLLAPSE)  # fmt: skip
    if addr & 4095 or not known or length < 0 or end < addr:
        raise error(errno.EINVAL)
    if end == addr:
        return
    if advice in _FLAG_ADVICE:
        await _madvise_flags(mm, addr, end, *_FLAG_ADVICE[advice])
        return
    if advice in (MADV_POPULATE_READ, MADV_POPULATE_WRITE):
        async with mm.mmap_lock.read():
            hole = has_hole(mm, addr, end)
        if hole:
            raise error(errno.ENOMEM)
        await populate(mm, addr, end, advice == MADV_POPULATE_WRITE)
        return
    async with mm.mmap_lock.read():
        hole = has_hole(mm, addr, end)
        for v in mm.vma_list.overlapping(addr, end):
            lo, hi = max(addr, v.vm_start), min(end, v.vm_end)
            if advice in (MADV_DONTNEED, MADV_FREE) and v.vm_flags & VM_SPECIAL:
                raise error(errno.EINVAL)
            if v.vm_flags & VM_HUGETLB:
                # Whole 2-MiB pages only, and nothing but dropping them is modelled.
                if advice == MADV_DONTNEED and not (lo | hi) & (HPAGE - 1):
                    await zap_page_range_single(v, lo, hi)
                elif advice in (MADV_DONTNEED, MADV_FREE):
                    raise error(errno.EINVAL)
                continue
            if advice == MADV_DONTNEED:
                await zap_page_range_single(v, lo, hi)
            elif advice == MADV_FREE:
                if not v.is_anon:
                    raise error(errno.EINVAL)
                await _madvise_free(mm, lo, hi)
            elif advice == MADV_PAGEOUT:
                await _pageout(mm, lo, hi)
    if advice == MADV_COLLAPSE:
        for h in range((addr + HPAGE - 1) & -HPAGE, end - HPAGE + 1, HPAGE):
            ret = await thp.collapse_huge_page(mm, h)
            if ret:
                raise error(-ret)
    if hole:
        raise error(errno.ENOMEM)


async def _madvise_flags(mm: MmStruct, addr: int, end: int, add: int, remove: int) -> None:
    await mm.mmap_lock.down_write()
    try:
        hole = has_hole(mm, addr, end)
        for v in mm.vma_list.isolate(addr, end):
            v.vm_flags = v.vm_flags & ~remove | add
        put = mm.vma_list.merge_around(addr, end)
    finally:
        mm.mmap_lock.up_write()
    await put_files(put)
    if hole:
        raise error(errno.ENOMEM)


async def _madvise_free(mm: MmStruct, start: int, end: int) -> None:
    """madvise_free_single_vma(): pages become clean and discardable until written again. Event CLEAR."""
    phys = mm.phys
    r = MmuNotifierRange(mm, start, end, MmuNotifyEvent.CLEAR)
    await mmu_notifier_invalidate_range_start(r)
    for addr, e in mm.pt.leaves(start, end):
        stop = min(end, (addr & -HPAGE) + HPAGE)
        if type(e) is int:
            await thp.split_huge_pmd(mm, addr & -HPAGE)
        await mm.page_table_lock.lock()
        t = mm.pt.pte_table(addr)
        while t is not None and addr < stop:
            i = (addr >> 12) & 511
            e = t[i]
            if e & SWAP:
                mm.set_pte(t, i, addr, 0)
                free_swap_entry(phys, e >> 12)
            elif e & P and not e & ZERO:
                pfn = e >> 12
                fl = int(phys.flags[phys.head[pfn]])
                own = fl & PG_ANON and not fl & (PG_HUGE | PG_ZONE_DEVICE) and phys.mapcount[pfn] == 1
                if own and not phys.page_locked(pfn) and phys.free_swap_of(pfn):
                    phys.flags[pfn] = int(phys.flags[pfn]) & ~PG_DIRTY | PG_LAZYFREE
                    mm.set_pte(t, i, addr, e & ~(A | D))
            addr += PAGE_SIZE
        mm.page_table_lock.unlock()
    await mmu_notifier_invalidate_range_end(r)


async def _pageout(mm: MmStruct, start: int, end: int) -> int:
    from sw_model.reclaim import reclaim_folio

    phys = mm.phys
    n = 0
    for a in range(start, end, PAGE_SIZE):
        await mm.page_table_lock.lock()
        e = mm.pt.entry(a)
        pfn = (e >> 12) if e & HAS_PAGE and not e & ZERO else -1
        if pfn >= 0:
            if mm.pt.pte_table(a) is None:
                pfn += (a >> 12) & 511
            if phys.mapcount[pfn] == 1:
                phys.get_page(pfn)
            else:
                pfn = -1
        mm.page_table_lock.unlock()
        if pfn >= 0:
            n += await reclaim_folio(phys, pfn)
    return n


async def swap_out_range(mm: MmStruct, start: int, end: int) -> int:
    """Reclaim the pages of [start, end) that only this process maps (MADV_PAGEOUT); frames freed."""
    async with mm.mmap_lock.read():
        return await _pageout(mm, start, end)


async def msync(mm: MmStruct, addr: int, length: int) -> None:
    """msync(MS_SYNC): write back dirty pages of file mappings. Raises OSError: EINVAL, ENOMEM (a hole)."""
    if addr & 4095 or length < 0:
        raise error(errno.EINVAL)
    end = addr + page_align(length)
    async with mm.mmap_lock.read():
        vmas = mm.vma_list.overlapping(addr, end)
        files = [v.vm_file for v in vmas if v.vm_flags & VM_SHARED and v.vm_file is not None]
        for f in files:
            f.get()
        hole = has_hole(mm, addr, end)
    for f in files:
        await f.writeback()
        await f.put()
    if hole:
        raise error(errno.ENOMEM)
