"""Page faults: handle_mm_fault and everything below it (mm/memory.c, the fault side of mm/huge_memory.c).

All of it runs with mmap_lock held for reading and re-checks the entry under page_table_lock after anything
that may sleep, as Linux does with pte_same(). A fault that lost a race returns 0 and is simply taken again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sw_model import hugetlb, thp, userfaultfd
from sw_model.mmu_notifier import (
    MmuNotifierRange,
    MmuNotifyEvent,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from sw_model.pagetable import (
    DEVP,
    DEVX,
    EXCL,
    HAS_PAGE,
    HPAGE,
    HPAGE_MASK,
    HPAGE_NR,
    HWPOISON,
    MIG,
    PAGE_MASK,
    PAGE_SIZE,
    PN,
    SWAP,
    ZERO,
    A,
    D,
    P,
    W,
)
from sw_model.phys import PG_ANON, PG_DIRTY, PG_EXCL, PG_KSM, PhysMem
from sw_model.sched import point
from sw_model.vma import (
    VM_ACCESS,
    VM_HUGEPAGE,
    VM_HUGETLB,
    VM_NOHUGEPAGE,
    VM_SHARED,
    VM_SPECIAL,
    VM_UFFD_MISSING,
    VM_WRITE,
    Vma,
)

if TYPE_CHECKING:
    from sw_model.mm import MmStruct

VM_FAULT_OOM, VM_FAULT_SIGBUS, VM_FAULT_MAJOR, VM_FAULT_HWPOISON = 0x1, 0x2, 0x4, 0x10
VM_FAULT_SIGSEGV, VM_FAULT_RETRY, VM_FAULT_FALLBACK = 0x40, 0x400, 0x800
VM_FAULT_ERROR = VM_FAULT_OOM | VM_FAULT_SIGBUS | VM_FAULT_SIGSEGV | VM_FAULT_HWPOISON | VM_FAULT_FALLBACK


async def handle_mm_fault(mm: MmStruct, vma: Vma, addr: int, write: bool, allow_retry: bool = False) -> int:
    """Resolve a fault at `addr` (bytes) in `vma`; VM_FAULT_* flags, 0 when it may be tried again.

    mmap_lock is held for reading. With `allow_retry` (FAULT_FLAG_ALLOW_RETRY) the result may be
    VM_FAULT_RETRY, and then mmap_lock has been dropped; else it sleeps with the lock held.
    Errors: VM_FAULT_OOM, VM_FAULT_SIGBUS (beyond the end of a file), VM_FAULT_SIGSEGV (a write to a VMA
    that is not writable, or a VMA without access). Models handle_mm_fault.
    """
    phys = mm.phys
    phys.stats["fault"] += 1
    if not vma.vm_flags & (VM_WRITE if write else VM_ACCESS):
        return VM_FAULT_SIGSEGV
    if vma.vm_flags & VM_SPECIAL:
        return VM_FAULT_SIGBUS
    addr &= PAGE_MASK
    await point("pte", mm)
    e = mm.pt.pmd_entry(addr)
    if vma.vm_flags & VM_HUGETLB:
        return await hugetlb.hugetlb_fault(mm, vma, addr, write)
    if vma.vm_flags & VM_UFFD_MISSING and not mm.pt.entry(addr):
        return await userfaultfd.handle_userfault(mm, addr, allow_retry)
    if e == 0 and thp_eligible(vma, addr):
        ret = await _huge_anonymous(mm, vma, addr & HPAGE_MASK)
        if ret != VM_FAULT_FALLBACK:
            return ret
        e = mm.pt.pmd_entry(addr)
    if type(e) is int and e & DEVP:
        return await _device_private(mm, vma, addr, -1, e)
    if e and type(e) is int:
        ret = await _huge_fault(mm, vma, addr & HPAGE_MASK, e, write)
        if ret != VM_FAULT_FALLBACK:
            return ret
    table = mm.pt.pte_alloc(addr)
    if table is None:
        return 0
    i = (addr >> 12) & 511
    e = table[i]
    if e == 0:
        if vma.vm_file is None:
            return await _anonymous(mm, vma, addr, table, i, write)
        return await _file_fault(mm, vma, addr, table, i, write)
    if e & HWPOISON and not e & HAS_PAGE:
        return VM_FAULT_HWPOISON
    if e & SWAP:
        return await _swap_in(mm, vma, addr, table, i, e, write, allow_retry)
    if e & MIG:
        return await _migration_wait(mm, addr, allow_retry)
    if e & DEVP:
        return await _device_private(mm, vma, addr, i, e)
    if e & DEVX:
        return await _device_exclusive(mm, vma, addr, table, i, e)
    if e & PN:
        return await _numa_page(mm, vma, addr, table, i, e)
    ptl = mm.page_table_lock
    await ptl.lock()
    now = table[i]
    if now & P and now >> 12 == e >> 12:
        if write and not now & W:
            return await _wp_page(mm, vma, addr, table, i, now)
        table[i] = now | A | (D if write else 0)
    ptl.unlock()
    return 0


def thp_eligible(vma: Vma, addr: int) -> bool:
    """May a 2-MiB page be mapped around `addr` (thp_vma_allowable_order)?"""
    f = vma.vm_flags
    if vma.vm_file is not None or f & VM_NOHUGEPAGE or not (f & VM_HUGEPAGE or vma.vm_mm.thp):
        return False
    h = addr & HPAGE_MASK
    return h >= vma.vm_start and h + HPAGE <= vma.vm_end


def can_change_writable(mm: MmStruct, vma: Vma, e: int) -> bool:
    """May a present entry be made writable without a write fault (can_change_pte_writable)?"""
    if not vma.vm_flags & VM_WRITE or e & ZERO:
        return False
    if vma.vm_flags & VM_SHARED:
        return bool(e & D) or vma.vm_file.shmem
    fl = int(mm.phys.flags[e >> 12])
    return bool(fl & PG_ANON and fl & PG_EXCL)


async def _huge_anonymous(mm: MmStruct, vma: Vma, haddr: int) -> int:
    """do_huge_pmd_anonymous_page (with use_zero_page=0)."""
    phys = mm.phys
    await point("alloc", phys)
    head = phys.alloc_huge()
    if head < 0:
        return VM_FAULT_FALLBACK
    phys.memory[head * PAGE_SIZE : (head + HPAGE_NR) * PAGE_SIZE] = 0
    await mm.page_table_lock.lock()
    if mm.pt.pmd_entry(haddr):
        mm.page_table_lock.unlock()
        phys.put_page(head)
        return 0
    thp.map_huge(mm, vma, haddr, head)
    mm.page_table_lock.unlock()
    return 0


async def _huge_fault(mm: MmStruct, vma: Vma, haddr: int, e: int, write: bool) -> int:
    """do_huge_pmd_numa_page, do_huge_pmd_wp_page, huge_pmd_set_accessed; FALLBACK after a split."""
    phys = mm.phys
    await mm.page_table_lock.lock()
    now = mm.pt.pmd_entry(haddr)
    if type(now) is not int or not now or now >> 12 != e >> 12:
        mm.page_table_lock.unlock()
        return 0
    head = now >> 12
    if now & PN:
        mm.set_huge(haddr, now & ~PN | P | A | (W if can_change_writable(mm, vma, now) else 0))
    elif write and not now & W:
        if not phys.flags[head] & PG_EXCL and int(phys.refcount[head]) == 1:
            phys.flags[head] |= PG_EXCL
        if not phys.flags[head] & PG_EXCL:
            mm.page_table_lock.unlock()
            await thp.split_huge_pmd(mm, haddr)
            return VM_FAULT_FALLBACK
        mm.set_huge(haddr, now | W | A | D)
        phys.stats["reuse"] += 1
    else:
        mm.pt.set_pmd(haddr, now | A | (D if write else 0))
    mm.page_table_lock.unlock()
    return 0


async def _anonymous(mm: MmStruct, vma: Vma, addr: int, table: list, i: int, write: bool) -> int:
    """do_anonymous_page: the zero page for a read, a fresh page for a write."""
    phys = mm.phys
    if not write:
        async with mm.page_table_lock:
            if table[i] == 0:
                phys.stats["zero_fault"] += 1
                mm.set_pte(table, i, addr, (phys.zero_pfn << 12) | P | A | ZERO)
        return 0
    pfn = await phys.alloc_page(zero=True)
    if pfn < 0:
        return VM_FAULT_OOM
    await mm.page_table_lock.lock()
    if table[i]:
        mm.page_table_lock.unlock()
        phys.put_page(pfn)
        return 0
    map_anon(mm, vma, addr, table, i, pfn, D)
    mm.page_table_lock.unlock()
    return 0


def map_anon(mm: MmStruct, vma: Vma, addr: int, table: list, i: int, pfn: int, dirty: int) -> None:
    """Map a new, exclusive anonymous page; the caller's reference becomes the mapping's."""
    vma.anon_vma = True
    mm.phys.flags[pfn] |= PG_ANON | PG_EXCL
    mm.phys.add_rmap(pfn, mm, addr)
    mm.set_pte(table, i, addr, (pfn << 12) | P | A | ((W | dirty) if vma.vm_flags & VM_WRITE else 0))


async def _numa_page(mm: MmStruct, vma: Vma, addr: int, table: list, i: int, e: int) -> int:
    """do_numa_page: make a NUMA-hinting entry accessible again."""
    async with mm.page_table_lock:
        if table[i] == e:
            mm.set_pte(table, i, addr, e & ~PN | P | A | (W if can_change_writable(mm, vma, e) else 0))
    return 0


async def _migration_wait(mm: MmStruct, addr: int, allow_retry: bool) -> int:
    if allow_retry:
        mm.mmap_lock.up_read()
        await migration_entry_wait(mm, addr)
        return VM_FAULT_RETRY
    await migration_entry_wait(mm, addr)
    return 0


async def migration_entry_wait(mm: MmStruct, addr: int) -> None:
    """Sleep until the page of the migration entry at `addr` is unlocked; returns at once without one.

    Holds no reference on the page while it sleeps, so that the migration is not made to fail.
    """
    await mm.page_table_lock.lock()
    e = mm.pt.entry(addr)
    mm.page_table_lock.unlock()
    if e & MIG and not e & P:
        await mm.phys.wait_on_page_locked(e >> 12)


async def _device_private(mm: MmStruct, vma: Vma, addr: int, i: int, e: int) -> int:
    """do_swap_page, do_huge_pmd_device_private: the owner's driver brings the page back (migrate_to_ram).

    `i` is the index of a PTE, -1 for a 2-MiB leaf. A 2-MiB folio that PTEs map is split first.
    """
    phys = mm.phys
    pfn = e >> 12
    await mm.page_table_lock.lock()
    same = mm.pt.entry(addr) == e
    split = same and i >= 0 and phys.order_of(pfn)
    locked = same and not split and phys.trylock_page(pfn)
    if split or locked:
        phys.get_page(pfn)
    mm.page_table_lock.unlock()
    if split:
        await thp.split_folio(phys, pfn)
        phys.put_page(pfn)
        return 0
    if not locked:
        if same:
            await phys.wait_on_page_locked(pfn)
        return 0
    ret = await phys.pgmap(pfn).migrate_to_ram(vma, addr, pfn)
    phys.unlock_page(pfn)
    phys.put_page(pfn)
    return ret


async def _device_exclusive(mm: MmStruct, vma: Vma, addr: int, table: list, i: int, e: int) -> int:
    """remove_device_exclusive_entry(): the CPU takes a page back from a device; event CLEAR without owner."""
    phys = mm.phys
    pfn = e >> 12
    await mm.page_table_lock.lock()
    same = table[i] == e
    if same:
        phys.get_page(pfn)
    mm.page_table_lock.unlock()
    if not same:
        return 0
    await phys.lock_page(pfn)
    r = MmuNotifierRange(mm, addr, addr + PAGE_SIZE, MmuNotifyEvent.CLEAR)
    await mmu_notifier_invalidate_range_start(r)
    await mm.page_table_lock.lock()
    if table[i] == e:
        _restore_exclusive(mm, vma, addr, table, i)
    mm.page_table_lock.unlock()
    phys.unlock_page(pfn)
    await mmu_notifier_invalidate_range_end(r)
    release_page(phys, pfn)
    return 0


def restore_exclusive(mm: MmStruct, vma: Vma, addr: int, table: list, i: int) -> bool:
    """try_restore_exclusive_pte(): False when the folio is locked. page_table_lock held, inside an event."""
    pfn = table[i] >> 12
    if not mm.phys.trylock_page(pfn):
        return False
    _restore_exclusive(mm, vma, addr, table, i)
    mm.phys.unlock_page(pfn)
    return True


def _restore_exclusive(mm: MmStruct, vma: Vma, addr: int, table: list, i: int) -> None:
    """restore_exclusive_pte(): reference and reverse mapping are those that the entry had."""
    pfn = table[i] >> 12
    bits = P if vma.vm_flags & VM_ACCESS else PN
    if bits == P and can_change_writable(mm, vma, pfn << 12):
        bits |= W | D
    mm.set_pte(table, i, addr, (pfn << 12) | bits)


async def _swap_in(
    mm: MmStruct, vma: Vma, addr: int, table: list, i: int, e: int, write: bool, allow_retry: bool
) -> int:
    """do_swap_page, through the swap cache, so that a slot never has two copies in use."""
    phys, swap = mm.phys, mm.phys.swap
    slot = e >> 12
    pfn = swap.cache.get(slot, -1)
    ret = 0
    if pfn < 0:
        new = await phys.alloc_page()
        await point("swap", mm)
        if table[i] != e:
            if new >= 0:
                phys.put_page(new)
            return 0
        pfn = swap.cache.get(slot, -1)
        if pfn < 0:
            if new < 0:
                return VM_FAULT_OOM
            pfn = new
            phys.page_view(pfn)[:] = memoryview(swap.data[slot])
            phys.flags[pfn] |= PG_ANON
            phys.add_to_swap_cache(pfn, slot)
            phys.stats["swap_in"] += 1
            ret = VM_FAULT_MAJOR
        else:
            if new >= 0:
                phys.put_page(new)
            phys.get_page(pfn)
    else:
        phys.get_page(pfn)
    if not phys.trylock_page(pfn):
        if allow_retry:
            mm.mmap_lock.up_read()
            await phys.wait_on_page_locked(pfn)
            phys.put_page(pfn)
            return VM_FAULT_RETRY
        await phys.lock_page(pfn)
    await mm.page_table_lock.lock()
    if table[i] != e or phys.slot_of.get(pfn) != slot:
        mm.page_table_lock.unlock()
        phys.unlock_page(pfn)
        release_page(phys, pfn)
        return 0
    swap.release(slot)
    exclusive = bool(e & EXCL)
    phys.free_swap_of(pfn)
    if not exclusive and not phys.flags[pfn] & PG_KSM and phys.refcount[pfn] == 1:
        exclusive = True
    new_e = (pfn << 12) | P | A
    if exclusive:
        phys.flags[pfn] |= PG_EXCL
        if vma.vm_flags & VM_WRITE:
            new_e |= W | (D if write else 0)
    vma.anon_vma = True
    phys.add_rmap(pfn, mm, addr)
    mm.set_pte(table, i, addr, new_e)
    mm.page_table_lock.unlock()
    phys.unlock_page(pfn)
    if write and not new_e & W:
        await mm.page_table_lock.lock()
        if table[i] == new_e:
            return ret | await _wp_page(mm, vma, addr, table, i, new_e)
        mm.page_table_lock.unlock()
    return ret


def release_page(phys: PhysMem, pfn: int) -> bool:
    """Drop a reference; drops a swap-cache page that nothing else uses too (free_page_and_swap_cache)."""
    slot = phys.slot_of.get(pfn)
    unused = slot is not None and not phys.mapcount[pfn] and not phys.swap.count[slot]
    if unused and not phys.page_locked(pfn):
        phys.del_from_swap_cache(pfn)
    return phys.put_page(pfn)


async def _wp_page(mm: MmStruct, vma: Vma, addr: int, table: list, i: int, e: int) -> int:
    """do_wp_page: a write to a present read-only entry. Entered with page_table_lock held; drops it."""
    phys = mm.phys
    ptl = mm.page_table_lock
    pfn = e >> 12
    if e & ZERO:
        ptl.unlock()
        return await _wp_copy(mm, vma, addr, table, i, e, -1)
    if vma.vm_flags & VM_SHARED:
        phys.get_page(pfn)
        ptl.unlock()
        return await _shared_mkwrite(mm, vma, addr, table, i, pfn)
    fl = int(phys.flags[pfn])
    if fl & PG_ANON and not fl & PG_KSM:
        if not fl & PG_EXCL and phys.order_of(pfn) == 0 and not phys.page_locked(pfn):
            phys.free_swap_of(pfn)
            if phys.refcount[pfn] == 1:
                phys.flags[pfn] |= PG_EXCL
        if phys.flags[pfn] & PG_EXCL:
            phys.stats["reuse"] += 1
            mm.set_pte(table, i, addr, e | W | D | A)
            ptl.unlock()
            return 0
    phys.get_page(pfn)
    ptl.unlock()
    return await _wp_copy(mm, vma, addr, table, i, e, pfn)


async def _wp_copy(mm: MmStruct, vma: Vma, addr: int, table: list, i: int, e: int, old: int) -> int:
    """wp_page_copy: break copy-on-write. `old` comes with a reference, or is -1 for the zero page.

    Order: copy, invalidate_range_start(CLEAR), clear the entry and flush, set the new one, end, and only
    then drop the references on the old page.
    """
    phys = mm.phys
    new = await phys.alloc_page(zero=old < 0)
    if new < 0:
        if old >= 0:
            phys.put_page(old)
        return VM_FAULT_OOM
    if old >= 0:
        phys.copy_pages(new, old)
    r = MmuNotifierRange(mm, addr, addr + PAGE_SIZE, MmuNotifyEvent.CLEAR)
    await mmu_notifier_invalidate_range_start(r)
    await mm.page_table_lock.lock()
    same = (table[i] ^ e) & ~(A | D) == 0
    if same:
        phys.stats["cow"] += 1
        mm.set_pte(table, i, addr, 0)
        await point("pte", mm)
        map_anon(mm, vma, addr, table, i, new, D)
        if old >= 0:
            phys.del_rmap(old, mm, addr)
    mm.page_table_lock.unlock()
    await mmu_notifier_invalidate_range_end(r)
    if not same:
        phys.put_page(new)
    elif old >= 0:
        phys.put_page(old)
    if old >= 0:
        release_page(phys, old)
    return 0


async def _shared_mkwrite(mm: MmStruct, vma: Vma, addr: int, table: list, i: int, pfn: int) -> int:
    """wp_page_shared / page_mkwrite: a file page becomes dirty before its entry becomes writable."""
    phys = mm.phys
    await phys.lock_page(pfn)
    if phys.mapping.get(pfn, (None, 0))[0] is vma.vm_file:
        phys.flags[pfn] |= PG_DIRTY
        async with mm.page_table_lock:
            if table[i] & P and table[i] >> 12 == pfn:
                mm.set_pte(table, i, addr, table[i] | W | D | A)
    phys.unlock_page(pfn)
    phys.put_page(pfn)
    return 0


async def _file_fault(mm: MmStruct, vma: Vma, addr: int, table: list, i: int, write: bool) -> int:
    """do_fault: do_read_fault, do_cow_fault or do_shared_fault."""
    phys = mm.phys
    shared = bool(vma.vm_flags & VM_SHARED)
    cow = write and not shared
    new = -1
    if cow:
        new = await phys.alloc_page()
        if new < 0:
            return VM_FAULT_OOM
    pfn = await vma.vm_file.get_locked(vma.pgoff(addr))
    if pfn < 0:
        if cow:
            phys.put_page(new)
        return VM_FAULT_SIGBUS if pfn == -2 else VM_FAULT_OOM
    if cow:
        phys.copy_pages(new, pfn)
    elif write:
        phys.flags[pfn] |= PG_DIRTY
    await mm.page_table_lock.lock()
    drop = pfn
    if table[i]:
        if cow:
            phys.put_page(new)
    elif cow:
        phys.stats["cow"] += 1
        map_anon(mm, vma, addr, table, i, new, D)
    else:
        bits = (W | D) if write else W if shared and vma.vm_flags & VM_WRITE and vma.vm_file.shmem else 0
        phys.add_rmap(pfn, mm, addr)
        mm.set_pte(table, i, addr, (pfn << 12) | P | A | bits)
        drop = -1
    mm.page_table_lock.unlock()
    phys.unlock_page(pfn)
    if drop >= 0:
        phys.put_page(drop)
    return 0
