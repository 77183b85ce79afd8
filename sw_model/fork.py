"""fork() and exit of an address space: dup_mmap with copy-on-write, exit_mmap (kernel/fork.c, mm/mmap.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sw_model.fault import restore_exclusive
from sw_model.mm_ops import MmuGather, unmap_page_range
from sw_model.mmu_notifier import (
    MmuNotifierRange,
    MmuNotifyEvent,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
    mmu_notifier_release,
)
from sw_model.pagetable import DEVP, DEVX, EXCL, HAS_PAGE, HPAGE, MIG, PAGE_SIZE, SWAP, ZERO, A, W
from sw_model.phys import PG_EXCL
from sw_model.sched import point
from sw_model.thp import split_huge_pmd
from sw_model.vma import VM_DONTCOPY, Vma

if TYPE_CHECKING:
    from sw_model.mm import MmStruct

_NOT_EXCL = ~PG_EXCL & 0xFFFFFFFF
RELEASE_END = 1 << 64


async def fork(mm: MmStruct, name: str | None = None) -> MmStruct:
    """fork(2) of the address space: the child's mm, with one user.

    Private pages become shared read-only in both: event PROTECTION_PAGE on the parent, once for each VMA that
    has anonymous pages. Shared and pure file mappings are not copied; the child faults them in.
    Models dup_mmap and copy_page_range.
    """
    from sw_model.mm import MmStruct

    child = MmStruct(mm.phys, name or f"{mm.name}.child", mm.thp)
    child.mmap_base, child.start_brk, child.brk_end = mm.mmap_base, mm.start_brk, mm.brk_end
    await mm.mmap_lock.down_write()
    await child.mmap_lock.down_write(nested=True)
    try:
        for vma in list(mm.vma_list.all):
            if vma.vm_flags & VM_DONTCOPY:
                continue
            new = Vma(child, vma.vm_start, vma.vm_end, vma.vm_flags, vma.vm_file, vma.vm_pgoff)
            new.anon_vma = vma.anon_vma
            if new.vm_file is not None:
                new.vm_file.get()
            child.vma_list.insert(new)
            if vma.anon_vma:
                await _copy_page_range(child, mm, vma)
    finally:
        child.mmap_lock.up_write()
        mm.mmap_lock.up_write()
    return child


async def _copy_page_range(child: MmStruct, mm: MmStruct, vma: Vma) -> None:
    r = MmuNotifierRange(mm, vma.vm_start, vma.vm_end, MmuNotifyEvent.PROTECTION_PAGE)
    if vma.is_cow:
        await mmu_notifier_invalidate_range_start(r)
    for addr, e in mm.pt.leaves(vma.vm_start, vma.vm_end):
        if type(e) is int:
            if not e & DEVP and addr & (HPAGE - 1) == 0 and addr + HPAGE <= vma.vm_end:
                if await _copy_huge(child, mm, addr):
                    continue
            else:
                await split_huge_pmd(mm, addr & -HPAGE)
        stop = min(vma.vm_end, (addr & -HPAGE) + HPAGE)
        dst = child.pt.pte_alloc(addr)
        await child.page_table_lock.lock()
        await mm.page_table_lock.lock(nested=True)
        src = mm.pt.pte_table(addr)
        while src is not None and dst is not None and addr < stop:
            i = (addr >> 12) & 511
            if src[i] & DEVX and not restore_exclusive(mm, vma, addr, src, i):
                pfn = src[i] >> 12
                mm.page_table_lock.unlock()
                child.page_table_lock.unlock()
                await mm.phys.wait_on_page_locked(pfn)
                await child.page_table_lock.lock()
                await mm.page_table_lock.lock(nested=True)
                src = mm.pt.pte_table(addr)
                continue
            if src[i]:
                _copy_one(child, mm, vma, src, dst, i, addr)
            addr += PAGE_SIZE
        mm.page_table_lock.unlock()
        child.page_table_lock.unlock()
    if vma.is_cow:
        await mmu_notifier_invalidate_range_end(r)


def _copy_one(child: MmStruct, mm: MmStruct, vma: Vma, src: list, dst: list, i: int, addr: int) -> None:
    """copy_present_pte, copy_nonpresent_pte."""
    phys = mm.phys
    e = src[i]
    if e & HAS_PAGE:
        if not e & ZERO:
            pfn = e >> 12
            if vma.is_cow:
                phys.flags[pfn] &= _NOT_EXCL
                if e & W:
                    e &= ~W
                    mm.set_pte(src, i, addr, e)
            phys.get_page(pfn)
            phys.add_rmap(pfn, child, addr)
        child.set_pte(dst, i, addr, e & ~A)
        return
    if e & (EXCL | W):
        e &= ~(EXCL | W)
        mm.set_pte(src, i, addr, e)
    if e & SWAP:
        phys.swap.dup(e >> 12)
    elif e & DEVP:
        phys.flags[e >> 12] &= _NOT_EXCL
        phys.get_page(e >> 12)
        phys.add_rmap(e >> 12, child, addr)
    elif e & MIG:
        phys.add_mig(e >> 12, child, addr)
    child.set_pte(dst, i, addr, e)


async def _copy_huge(child: MmStruct, mm: MmStruct, addr: int) -> bool:
    """copy_huge_pmd; False when the leaf was split meanwhile."""
    phys = mm.phys
    await child.page_table_lock.lock()
    await mm.page_table_lock.lock(nested=True)
    e = mm.pt.pmd_entry(addr)
    ok = type(e) is int and e & HAS_PAGE != 0
    if ok:
        head = e >> 12
        phys.flags[head] &= _NOT_EXCL
        if e & W:
            e &= ~W
            mm.set_huge(addr, e)
        phys.get_page(head)
        phys.add_rmap_pmd(head, child, addr)
        child.set_huge(addr, e & ~A)
    mm.page_table_lock.unlock()
    child.page_table_lock.unlock()
    return ok


async def exit_mmap(mm: MmStruct) -> None:
    """Tear an address space down: release notifiers first, then unmap everything with event UNMAP.

    mm_users is 0; mm_count is still held. Pages are freed after invalidate_range_end, or before it when
    the gather batch fills.
    """
    phys = mm.phys
    if phys.on_mm_release is not None:
        phys.on_mm_release(mm)
    await mmu_notifier_release(mm)
    tlb = MmuGather(phys)
    await mm.mmap_lock.down_write()
    r = MmuNotifierRange(mm, 0, RELEASE_END, MmuNotifyEvent.UNMAP)
    await mmu_notifier_invalidate_range_start(r)
    vmas = list(mm.vma_list.all)
    for v in vmas:
        await unmap_page_range(mm, v.vm_start, v.vm_end, tlb)
    await mmu_notifier_invalidate_range_end(r)
    await point("pgtable", mm)
    await mm.wait_no_rmap()
    files = []
    for v in vmas:
        mm.vma_list.remove(v)
        if v.vm_file is not None:
            files.append(v.vm_file)
    mm.pt.free_tables(0, 1 << 47)
    mm.mmap_lock.up_write()
    await tlb.finish()
    for f in files:
        await f.put()
