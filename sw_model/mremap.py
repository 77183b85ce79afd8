"""mremap(2): grow, shrink or move a mapping with its page-table entries (mm/mremap.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from sw_model import thp
from sw_model.mm_ops import do_munmap, error, get_unmapped_area, page_align, put_files
from sw_model.mmu_notifier import (
    MmuNotifierRange,
    MmuNotifyEvent,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from sw_model.pagetable import DEVICE, HAS_PAGE, HPAGE, MIG, PAGE_SIZE, TASK_SIZE, ZERO
from sw_model.sched import point
from sw_model.vma import (
    MREMAP_DONTUNMAP,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    VM_HUGETLB,
    VM_SPECIAL,
    Vma,
)

if TYPE_CHECKING:
    from sw_model.filemap import File
    from sw_model.mm import MmStruct


async def mremap(
    mm: MmStruct, old: int, old_len: int, new_len: int, flags: int = MREMAP_MAYMOVE, new_addr: int = 0
) -> int:
    """mremap(2): the new address.

    Raises OSError: EINVAL (flags, alignment, new_len 0, overlap of MREMAP_FIXED), EFAULT (old range not in
    one VMA), ENOMEM (cannot grow in place, no room). Not supported (EINVAL): old_len 0, hugetlb mappings.
    """
    fixed = bool(flags & MREMAP_FIXED)
    dontunmap = bool(flags & MREMAP_DONTUNMAP)
    old_len, new_len = page_align(old_len), page_align(new_len)
    bad = flags & ~7 or old & 4095 or new_len <= 0 or old_len <= 0
    bad = bad or ((fixed or dontunmap) and not flags & MREMAP_MAYMOVE) or (dontunmap and old_len != new_len)
    if fixed:
        bad = bad or new_addr & 4095 or new_addr + new_len > TASK_SIZE
        bad = bad or (new_addr < old + old_len and old < new_addr + new_len)
    if bad:
        raise error(errno.EINVAL)
    put: list[File] = []
    await mm.mmap_lock.down_write()
    try:
        if mm.vma_list.lookup(old) is None:
            raise error(errno.EFAULT)
        if fixed:
            put += await do_munmap(mm, new_addr, new_len)
        if old_len > new_len or (old_len == new_len and not fixed and not dontunmap):
            if old_len > new_len:
                put += await do_munmap(mm, old + new_len, old_len - new_len)
                old_len = new_len
            if not fixed:
                return old
        vma = mm.vma_list.lookup(old)
        if vma is None or old + old_len > vma.vm_end:
            raise error(errno.EFAULT)
        if vma.vm_flags & VM_SPECIAL:
            raise error(errno.EFAULT)
        if vma.vm_flags & VM_HUGETLB:
            raise error(errno.EINVAL)
        if not fixed and not dontunmap:
            if old + old_len == vma.vm_end:
                end = old + new_len
                if end <= TASK_SIZE and not mm.vma_list.overlapping(vma.vm_end, end):
                    mm.vma_list.resize(vma, end)
                    put += mm.vma_list.merge_around(vma.vm_start, end)
                    return old
            if not flags & MREMAP_MAYMOVE:
                raise error(errno.ENOMEM)
        if not fixed:
            hint = page_align(new_addr)
            if dontunmap and hint and not mm.vma_list.overlapping(hint, hint + new_len):
                new_addr = hint
            else:
                same = (old & (HPAGE - 1)) if new_len >= HPAGE else 0
                align = HPAGE if new_len >= HPAGE else PAGE_SIZE
                new_addr = get_unmapped_area(mm, new_len + (HPAGE if same else 0), align) + same
        put += await _move_vma(mm, vma, old, old_len, new_addr, new_len, dontunmap)
        return new_addr
    finally:
        mm.mmap_lock.up_write()
        await put_files(put)


async def _move_vma(
    mm: MmStruct, vma: Vma, old: int, old_len: int, new: int, new_len: int, dontunmap: bool
) -> list[File]:
    """move_vma(): a copy of the VMA at the new place, the entries moved, the old range unmapped."""
    copy = Vma(mm, new, new + new_len, vma.vm_flags, vma.vm_file, vma.pgoff(old))
    copy.anon_vma = vma.anon_vma
    if copy.vm_file is not None:
        copy.vm_file.get()
    mm.vma_list.insert(copy)
    await _move_page_tables(mm, old, new, old_len)
    put = mm.vma_list.merge_around(new, new + new_len)
    if not dontunmap:
        put += await do_munmap(mm, old, old_len)
    return put


async def _move_page_tables(mm: MmStruct, old: int, new: int, length: int) -> None:
    """move_page_tables(): event UNMAP on the old range; pages keep their references."""
    phys = mm.phys
    r = MmuNotifierRange(mm, old, old + length, MmuNotifyEvent.UNMAP)
    await mmu_notifier_invalidate_range_start(r)
    for addr, e in mm.pt.leaves(old, old + length):
        stop = min(old + length, (addr & -HPAGE) + HPAGE)
        to = addr - old + new
        if type(e) is int:
            if stop - addr == HPAGE and to & (HPAGE - 1) == 0 and mm.pt.pmd_entry(to) == 0:
                await mm.page_table_lock.lock()
                e = mm.pt.pmd_entry(addr)
                if type(e) is int and e:
                    mm.set_huge(addr, 0)
                    phys.del_rmap_pmd(e >> 12, mm, addr)
                    await point("pte", mm)
                    phys.add_rmap_pmd(e >> 12, mm, to)
                    mm.set_huge(to, e)
                mm.page_table_lock.unlock()
                if type(e) is int:
                    continue
            else:
                await thp.split_huge_pmd(mm, addr & -HPAGE)
        await mm.page_table_lock.lock()
        src = mm.pt.pte_table(addr)
        if src is not None:
            while addr < stop:
                i = (addr >> 12) & 511
                e = src[i]
                if e:
                    to = addr - old + new
                    dst = mm.pt.pte_alloc(to)
                    assert dst is not None
                    mm.set_pte(src, i, addr, 0)
                    if e & (HAS_PAGE | DEVICE):
                        if not e & ZERO:
                            phys.del_rmap(e >> 12, mm, addr)
                            phys.add_rmap(e >> 12, mm, to)
                    elif e & MIG:
                        phys.del_mig(e >> 12, mm, addr)
                        phys.add_mig(e >> 12, mm, to)
                    mm.set_pte(dst, (to >> 12) & 511, to, e)
                addr += PAGE_SIZE
        mm.page_table_lock.unlock()
    await mmu_notifier_invalidate_range_end(r)
