"""mmap, munmap, mprotect and brk, and the zap that they share with others (mm/mmap.c, mprotect.c, memory.c).

Functions that take `mm` first are methods of MmStruct. Addresses and lengths are in bytes; errors are raised
as OSError with the errno that the system call has. The order of every change: invalidate_range_start,
page_table_lock, entries and flush, unlock, invalidate_range_end; zapped pages are gathered and freed after
the end (tlb_finish_mmu), or before it when the batch is full (tlb_flush_mmu), always after the start.
"""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING

from sw_model import thp
from sw_model.fault import can_change_writable, release_page
from sw_model.filemap import File
from sw_model.mmu_notifier import (
    MmuNotifierRange,
    MmuNotifyEvent,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from sw_model.pagetable import (
    DEVICE,
    DEVP,
    HAS_PAGE,
    HPAGE,
    HPAGE_NR,
    HWPOISON,
    MIG,
    PAGE_MASK,
    PAGE_SHIFT,
    PAGE_SIZE,
    PN,
    SWAP,
    TASK_SIZE,
    ZERO,
    D,
    P,
    W,
)
from sw_model.phys import PG_DIRTY, PhysMem
from sw_model.sched import point
from sw_model.vma import (
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_FIXED_NOREPLACE,
    MAP_HUGETLB,
    MAP_POPULATE,
    MAP_PRIVATE,
    MAP_SHARED,
    VM_ACCESS,
    VM_HUGETLB,
    VM_MAYEXEC,
    VM_MAYREAD,
    VM_MAYSHARE,
    VM_MAYWRITE,
    VM_SHARED,
    VM_WRITE,
    Vma,
)

if TYPE_CHECKING:
    from sw_model.mm import MmStruct

GATHER_MAX = 2048  # pages; a full mmu_gather batch is flushed and freed inside the invalidation


class MmuGather:
    """struct mmu_gather: pages whose last use ends with the next TLB flush."""

    def __init__(self, phys: PhysMem) -> None:
        self.phys = phys
        self.pages: list[int] = []

    async def flush(self) -> None:
        """tlb_flush_mmu(): free what was gathered. The CPU's translations are gone already."""
        pages, self.pages = self.pages, []
        if pages:
            await point("free", self.phys)
            for pfn in pages:
                release_page(self.phys, pfn)

    async def finish(self) -> None:
        """tlb_finish_mmu()."""
        await self.flush()


def page_align(n: int) -> int:
    """Round a length up to whole pages."""
    return (n + PAGE_SIZE - 1) & PAGE_MASK


def error(code: int, text: str = "") -> OSError:
    """The OSError of an errno."""
    return OSError(code, text or errno.errorcode[code])


# -- zap -------------------------------------------------------------------------------------------


async def unmap_page_range(mm: MmStruct, start: int, end: int, tlb: MmuGather) -> None:
    """Clear all entries of [start, end), gathering their pages; inside an invalidation (unmap_page_range)."""
    phys = mm.phys
    for addr, e in mm.pt.leaves(start, end):
        stop = min(end, (addr & -HPAGE) + HPAGE)
        if type(e) is int:
            if not (addr & (HPAGE - 1) == 0 and stop - addr == HPAGE):
                await thp.split_huge_pmd(mm, addr & -HPAGE)
            else:
                await mm.page_table_lock.lock()
                e = mm.pt.pmd_entry(addr)
                if type(e) is int and e:
                    head = e >> 12
                    mm.set_huge(addr, 0)
                    if e & D:
                        phys.flags[head] |= PG_DIRTY
                    phys.del_rmap_pmd(head, mm, addr)
                    tlb.pages.append(head)
                mm.page_table_lock.unlock()
        await mm.page_table_lock.lock()
        t = mm.pt.pte_table(addr)
        if t is not None:
            while addr < stop:
                i = (addr >> 12) & 511
                e = t[i]
                if e:
                    _zap_pte(mm, t, i, addr, e, tlb)
                addr += PAGE_SIZE
        mm.page_table_lock.unlock()
        if len(tlb.pages) > GATHER_MAX:
            await tlb.flush()


def _zap_pte(mm: MmStruct, t: list, i: int, addr: int, e: int, tlb: MmuGather) -> None:
    phys = mm.phys
    mm.set_pte(t, i, addr, 0)
    if e & HAS_PAGE:
        if not e & ZERO:
            pfn = e >> 12
            if e & D:
                phys.flags[phys.head[pfn]] |= PG_DIRTY
            phys.del_rmap(pfn, mm, addr)
            tlb.pages.append(pfn)
    elif e & SWAP:
        free_swap_entry(phys, e >> 12)
    elif e & HWPOISON:
        pass  # the mapping's reference went when the page was poisoned
    elif e & DEVICE:
        phys.del_rmap(e >> 12, mm, addr)
        tlb.pages.append(e >> 12)
    else:
        phys.del_mig(e >> 12, mm, addr)


def free_swap_entry(phys: PhysMem, slot: int) -> None:
    """free_swap_and_cache(): one entry less, and the cached page goes when nothing else uses it."""
    phys.swap.release(slot)
    pfn = phys.swap.cache.get(slot)
    if pfn is None or phys.swap.count[slot]:
        return
    if phys.refcount[pfn] == 1 and not phys.page_locked(pfn):
        phys.del_from_swap_cache(pfn)


async def zap_page_range_single(vma: Vma, start: int, end: int) -> None:
    """Drop the pages of [start, end) of one VMA, which remains: event CLEAR (MADV_DONTNEED, truncate)."""
    mm = vma.vm_mm
    tlb = MmuGather(mm.phys)
    mm.rmap_get()
    r = MmuNotifierRange(mm, start, end, MmuNotifyEvent.CLEAR)
    await mmu_notifier_invalidate_range_start(r)
    await unmap_page_range(mm, start, end, tlb)
    await mmu_notifier_invalidate_range_end(r)
    mm.rmap_put()
    await tlb.finish()


# -- mmap ------------------------------------------------------------------------------------------


def get_unmapped_area(mm: MmStruct, length: int, align: int = PAGE_SIZE) -> int:
    """The highest free range of `length` bytes below mmap_base (top-down). Raises OSError(ENOMEM)."""
    top = mm.mmap_base
    for v in reversed(mm.vma_list.all):
        if v.vm_start >= top:
            continue
        at = (top - length) & -align
        if v.vm_end <= at:
            return at
        top = v.vm_start
    at = (top - length) & -align
    if at < 0x10000:
        raise error(errno.ENOMEM)
    return at


async def mmap(
    mm: MmStruct, addr: int, length: int, prot: int, flags: int, file: File | None = None, offset: int = 0
) -> int:
    """mmap(2): the address of the mapping. `file` is needed unless MAP_ANONYMOUS.

    Raises OSError: EINVAL (length 0, unaligned MAP_FIXED address or offset, neither shared nor private),
    ENOMEM (no room, beyond the address space, too few free hugetlb pages), EEXIST (MAP_FIXED_NOREPLACE),
    EBADF (no file), EOVERFLOW.
    """
    if length <= 0 or bool(flags & MAP_SHARED) == bool(flags & MAP_PRIVATE) or offset & 4095:
        raise error(errno.EINVAL)
    if not flags & MAP_ANONYMOUS and file is None:
        raise error(errno.EBADF)
    huge = flags & MAP_HUGETLB
    size = -(-length // HPAGE) * HPAGE if huge else page_align(length)
    if size > TASK_SIZE:
        raise error(errno.ENOMEM)
    fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)
    if fixed and addr & (HPAGE - 1 if huge else 4095):
        raise error(errno.EINVAL)
    if huge:
        if flags & (MAP_SHARED | MAP_ANONYMOUS) != MAP_ANONYMOUS:
            raise error(errno.EINVAL)
        if mm.phys.hugetlb is None or len(mm.phys.hugetlb.free) < size // HPAGE:
            raise error(errno.ENOMEM)
    vm_flags = (prot & VM_ACCESS) | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC
    vm_flags |= VM_HUGETLB if huge else 0
    if flags & MAP_ANONYMOUS:
        file, offset = None, 0
    if flags & MAP_SHARED:
        vm_flags |= VM_SHARED | VM_MAYSHARE
    put: list[File] = []
    await mm.mmap_lock.down_write()
    try:
        if fixed:
            if addr + size > TASK_SIZE or addr < 0:
                raise error(errno.ENOMEM)
            if mm.vma_list.overlapping(addr, addr + size):
                if flags & MAP_FIXED_NOREPLACE:
                    raise error(errno.EEXIST)
                put += await do_munmap(mm, addr, size)
        else:
            addr = page_align(addr)
            addr = 0 if huge and addr & (HPAGE - 1) else addr
            if not addr or addr + size > TASK_SIZE or mm.vma_list.overlapping(addr, addr + size):
                big = huge or (file is None and size >= HPAGE and mm.thp)
                addr = get_unmapped_area(mm, size, HPAGE if big else PAGE_SIZE)
        if file is not None:
            file.get()
        elif flags & MAP_SHARED:
            file = File(mm.phys, size=size, name="shmem", shmem=True)
        mm.vma_list.insert(Vma(mm, addr, addr + size, vm_flags, file, offset >> PAGE_SHIFT))
        put += mm.vma_list.merge_around(addr, addr + size)
    finally:
        mm.mmap_lock.up_write()
    await put_files(put)
    if flags & MAP_POPULATE:
        with contextlib.suppress(OSError):  # populating is best effort
            await populate(mm, addr, addr + size, bool(prot & VM_WRITE) and not flags & MAP_SHARED)
    return addr


async def put_files(files: list[File]) -> None:
    """fput() each."""
    for f in files:
        await f.put()


async def populate(mm: MmStruct, start: int, end: int, write: bool) -> None:
    """Fault in [start, end) as the CPU would (mm_populate); raises as MmStruct.fault_in."""
    for a in range(start, end, PAGE_SIZE):
        if mm.translate_fast(a, write) < 0:
            await mm.fault_in(a, write)


# -- munmap ----------------------------------------------------------------------------------------


async def munmap(mm: MmStruct, addr: int, length: int) -> None:
    """munmap(2); nothing mapped is no error. The lock is downgraded while pages are unmapped, as in Linux.

    Raises OSError(EINVAL): unaligned, length 0, beyond the address space.
    """
    _check_range(addr, length)
    await mm.mmap_lock.down_write()
    write = True
    try:
        detached = _detach(mm, addr, addr + page_align(length))
        if detached is not None:
            mm.mmap_lock.downgrade_write()
            write = False
            await _unmap_region(mm, *detached)
    finally:
        if write:
            mm.mmap_lock.up_write()
        else:
            mm.mmap_lock.up_read()
    if detached is not None:
        await put_files([v.vm_file for v in detached[0] if v.vm_file is not None])


def _check_range(addr: int, length: int) -> None:
    if addr & 4095 or length <= 0 or addr < 0 or addr + page_align(length) > TASK_SIZE:
        raise error(errno.EINVAL)


def _detach(mm: MmStruct, start: int, end: int) -> tuple[list[Vma], int, int, int, int] | None:
    if not mm.vma_list.overlapping(start, end):
        return None
    vmas = mm.vma_list.isolate(start, end)
    floor, ceiling = mm.vma_list.neighbours(start, end)
    for v in vmas:
        mm.vma_list.remove(v)
    return vmas, start, end, floor, ceiling


async def _unmap_region(
    mm: MmStruct, vmas: list[Vma], start: int, end: int, floor: int, ceiling: int
) -> None:
    """unmap_region(): unmap_vmas with event UNMAP, then free_pgtables, then tlb_finish_mmu."""
    tlb = MmuGather(mm.phys)
    r = MmuNotifierRange(mm, start, end, MmuNotifyEvent.UNMAP)
    await mmu_notifier_invalidate_range_start(r)
    for v in vmas:
        await unmap_page_range(mm, v.vm_start, v.vm_end, tlb)
    await mmu_notifier_invalidate_range_end(r)
    await point("pgtable", mm)
    await mm.wait_no_rmap()
    mm.pt.free_tables(floor, ceiling)
    await tlb.finish()


async def do_munmap(mm: MmStruct, start: int, length: int) -> list[File]:
    """do_munmap() with mmap_lock held for writing throughout; the files that the caller must put."""
    detached = _detach(mm, start, start + page_align(length))
    if detached is None:
        return []
    await _unmap_region(mm, *detached)
    return [v.vm_file for v in detached[0] if v.vm_file is not None]


# -- mprotect --------------------------------------------------------------------------------------


async def mprotect(mm: MmStruct, addr: int, length: int, prot: int) -> None:
    """mprotect(2). Raises OSError: EINVAL (unaligned), ENOMEM (a part is not mapped), EACCES."""
    if addr & 4095 or prot & ~VM_ACCESS:
        raise error(errno.EINVAL)
    end = addr + page_align(length)
    if length == 0:
        return
    if end <= addr or end > TASK_SIZE:
        raise error(errno.ENOMEM)
    put: list[File] = []
    await mm.mmap_lock.down_write()
    try:
        at = addr
        while at < end:
            v = mm.vma_list.lookup(at)
            if v is None:
                raise error(errno.ENOMEM)
            if prot & VM_ACCESS & ~(v.vm_flags >> 4):
                raise error(errno.EACCES)
            stop = min(end, v.vm_end)
            new = v.vm_flags & ~VM_ACCESS | prot
            if new != v.vm_flags:
                (v,) = mm.vma_list.isolate(at, stop)
                v.vm_flags = new
                await change_protection(mm, v, at, stop)
            at = stop
    finally:
        put = mm.vma_list.merge_around(addr, end)
        mm.mmap_lock.up_write()
    await put_files(put)


async def change_protection(mm: MmStruct, vma: Vma, start: int, end: int, numa: bool = False) -> int:
    """Give the entries of [start, end) the VMA's permission; entries changed. Event PROTECTION_VMA.

    With `numa` they become inaccessible, to be found by a NUMA-hinting fault. No event when no table exists.
    """
    if not any(True for _ in mm.pt.leaves(start, end)):
        return 0
    r = MmuNotifierRange(mm, start, end, MmuNotifyEvent.PROTECTION_VMA)
    await mmu_notifier_invalidate_range_start(r)
    n = 0
    none = numa or not vma.vm_flags & VM_ACCESS
    for addr, e in mm.pt.leaves(start, end):
        stop = min(end, (addr & -HPAGE) + HPAGE)
        if type(e) is int:
            if stop - addr == HPAGE:
                await mm.page_table_lock.lock()
                e = mm.pt.pmd_entry(addr)
                if type(e) is int and e & HAS_PAGE:
                    mm.set_huge(addr, _new_prot(mm, vma, e, none))
                    n += HPAGE_NR
                elif type(e) is int and e & DEVP and e & W:
                    mm.set_huge(addr, e & ~W)  # as the PTEs below
                    n += HPAGE_NR
                mm.page_table_lock.unlock()
                if type(e) is int:
                    continue
            else:
                await thp.split_huge_pmd(mm, addr & -HPAGE)
        await mm.page_table_lock.lock()
        t = mm.pt.pte_table(addr)
        if t is not None:
            while addr < stop:
                i = (addr >> 12) & 511
                e = t[i]
                if e & HAS_PAGE:
                    if not (numa and e & ZERO):
                        mm.set_pte(t, i, addr, _new_prot(mm, vma, e, none))
                        n += 1
                elif e & MIG and e & W and not vma.vm_flags & VM_WRITE:
                    t[i] = e & ~W
                elif e & DEVP and e & W:
                    # Stays readable when write permission comes back (change_pte_range).
                    mm.set_pte(t, i, addr, e & ~W)
                    n += 1
                addr += PAGE_SIZE
        mm.page_table_lock.unlock()
    await mmu_notifier_invalidate_range_end(r)
    return n


def _new_prot(mm: MmStruct, vma: Vma, e: int, none: bool) -> int:
    """pte_modify(), and write permission where no write fault is needed (MM_CP_TRY_CHANGE_WRITABLE)."""
    new = e & ~(P | W | PN)
    if none:
        return new | PN
    return new | P | (W if can_change_writable(mm, vma, e) else 0)


async def change_prot_numa(mm: MmStruct, start: int, end: int) -> int:
    """Make the pages of [start, end) fault for NUMA hinting (change_prot_numa); entries changed."""
    n = 0
    async with mm.mmap_lock.read():
        for v in mm.vma_list.overlapping(start, end):
            if v.vm_flags & VM_ACCESS and not v.vm_flags & VM_HUGETLB:
                n += await change_protection(mm, v, max(start, v.vm_start), min(end, v.vm_end), numa=True)
    return n


# -- brk -------------------------------------------------------------------------------------------


async def brk(mm: MmStruct, addr: int) -> int:
    """brk(2) of the kernel: set the end of the heap; the end that holds now (unchanged on failure)."""
    put: list[File] = []
    await mm.mmap_lock.down_write()
    try:
        if addr < mm.start_brk or addr > TASK_SIZE:
            return mm.brk_end
        old, new = page_align(mm.brk_end), page_align(addr)
        if new < old:
            put = await do_munmap(mm, new, old - new)
        elif new > old:
            if mm.vma_list.overlapping(old, new + PAGE_SIZE):
                return mm.brk_end
            flags = 3 | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC
            mm.vma_list.insert(Vma(mm, old, new, flags, None, 0))
            mm.vma_list.merge_around(old, new)
        mm.brk_end = addr
        return addr
    finally:
        mm.mmap_lock.up_write()
        await put_files(put)


def has_hole(mm: MmStruct, start: int, end: int) -> bool:
    """True when a byte of [start, end) is in no VMA."""
    at = start
    for v in mm.vma_list.overlapping(start, end):
        if v.vm_start > at:
            return True
        at = v.vm_end
    return at < end
