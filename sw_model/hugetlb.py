"""Hugetlb memory: 2-MiB pages from a reserved pool, in MAP_PRIVATE | MAP_ANONYMOUS mappings (mm/hugetlb.c).

    pool = HugetlbPool(phys, nr)              # vm.nr_hugepages
    addr = await mm.mmap(0, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB)

Such pages are never split, swapped, merged, moved or migrated to a device; a mapping is cut at 2 MiB only.
They are mapped by 2-MiB leaves, so a device sees order 9 and one fault fills the leaf.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from sw_model.mmu_notifier import (
    MmuNotifierRange,
    MmuNotifyEvent,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from sw_model.pagetable import HPAGE, HPAGE_MASK, HPAGE_NR, PAGE_SIZE, PN, A, D, P, W
from sw_model.phys import PG_EXCL, PG_HUGE, PG_HUGETLB, PG_RESERVED, PhysMem
from sw_model.sched import point
from sw_model.thp import map_huge
from sw_model.vma import Vma

if TYPE_CHECKING:
    from sw_model.mm import MmStruct


class HugetlbPool:
    """struct hstate: `nr` pages of 2 MiB taken from the allocator. Raises OSError(ENOMEM) when fragmented."""

    def __init__(self, phys: PhysMem, nr: int) -> None:
        self.phys = phys
        self.nr = nr
        self.free: list[int] = []
        phys.hugetlb = self
        for _ in range(nr):
            head = phys.alloc_huge()
            if head < 0:
                self.close()
                raise OSError(errno.ENOMEM, f"no {nr} huge pages for the pool")
            self.page_free(head)

    def page_free(self, head: int) -> None:
        """free_huge_folio(): the last reference is gone; the page is the pool's again."""
        phys = self.phys
        if phys.on_frame_free is not None:
            phys.on_frame_free(head, HPAGE_NR)
        phys.refcount[head] = 0
        phys.flags[head : head + HPAGE_NR] = PG_RESERVED
        self.free.append(head)

    def alloc(self) -> int:
        """A zeroed page with one reference, or -1."""
        if not self.free:
            return -1
        phys, head = self.phys, self.free.pop()
        if phys.on_frame_alloc is not None:
            phys.on_frame_alloc(head, HPAGE_NR)
        phys.refcount[head] = 1
        phys.flags[head : head + HPAGE_NR] = 0
        phys.flags[head] = PG_HUGE | PG_HUGETLB
        phys.memory[head * PAGE_SIZE : (head + HPAGE_NR) * PAGE_SIZE] = 0
        return head

    def close(self) -> None:
        """Give the pages back (vm.nr_hugepages = 0); all must be free."""
        while (head := self.alloc()) >= 0:
            self.phys.flags[head] = PG_HUGE
            self.phys.put_page(head)
        self.phys.hugetlb = None


async def hugetlb_fault(mm: MmStruct, vma: Vma, addr: int, write: bool) -> int:
    """hugetlb_fault(): VM_FAULT_* flags, SIGBUS when the pool is empty. The VMA permits the access."""
    haddr = addr & HPAGE_MASK
    await mm.page_table_lock.lock()
    e = mm.pt.pmd_entry(haddr)
    if e == 0:
        mm.page_table_lock.unlock()
        return await _no_page(mm, vma, haddr)
    head = e >> 12
    shared = not mm.phys.flags[head] & PG_EXCL and int(mm.phys.refcount[head]) > 1
    if write and not e & W and shared:
        mm.phys.get_page(head)
        mm.page_table_lock.unlock()
        return await _wp(mm, vma, haddr, e)
    if write:
        mm.phys.flags[head] |= PG_EXCL
    bits = e & ~PN | P | A | ((W | D) if write else 0)
    mm.set_huge(haddr, bits)
    mm.page_table_lock.unlock()
    return 0


async def _no_page(mm: MmStruct, vma: Vma, haddr: int) -> int:
    """hugetlb_no_page()."""
    from sw_model.fault import VM_FAULT_SIGBUS

    await point("alloc", mm.phys)
    new = mm.phys.hugetlb.alloc()
    if new < 0:
        return VM_FAULT_SIGBUS
    async with mm.page_table_lock:
        if mm.pt.pmd_entry(haddr) == 0:
            map_huge(mm, vma, haddr, new)
            return 0
    mm.phys.put_page(new)
    return 0


async def _wp(mm: MmStruct, vma: Vma, haddr: int, e: int) -> int:
    """hugetlb_wp(): break copy-on-write; event CLEAR. Comes with a reference on the old page."""
    from sw_model.fault import VM_FAULT_SIGBUS

    phys, old = mm.phys, e >> 12
    new = phys.hugetlb.alloc()
    if new < 0:
        phys.put_page(old)
        return VM_FAULT_SIGBUS
    phys.copy_pages(new, old, HPAGE_NR)
    r = MmuNotifierRange(mm, haddr, haddr + HPAGE, MmuNotifyEvent.CLEAR)
    await mmu_notifier_invalidate_range_start(r)
    await mm.page_table_lock.lock()
    same = mm.pt.pmd_entry(haddr)
    same = type(same) is int and (same ^ e) & ~(A | D) == 0
    if same:
        mm.set_huge(haddr, 0)
        phys.del_rmap_pmd(old, mm, haddr)
        await point("pte", mm)
        map_huge(mm, vma, haddr, new)
    mm.page_table_lock.unlock()
    await mmu_notifier_invalidate_range_end(r)
    phys.put_page(old if same else new)
    phys.put_page(old)
    return 0
