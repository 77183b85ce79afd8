"""Device memory (ZONE_DEVICE): private and coherent pages, their migration, device-exclusive access.

Models mm/memremap.c, mm/migrate_device.c and make_device_exclusive() of mm/rmap.c. Only anonymous memory
moves. With MIGRATE_VMA_SELECT_COMPOUND a 2-MiB page moves as a whole where the driver gives it one, and is
split where it gives small ones; without, it is split when it is collected. The migration entry of a leaf is
modelled as 512 entries, which become a leaf again.

A driver migrates with three calls, with mmap_lock held for reading:

    await migrate_vma_setup(args)      # args.src: what can move; its entries are migration entries now
    ... allocate locked pages into args.dst, copy the data ...
    await migrate_vma_pages(args)      # args.src keeps MIGRATE where the page has moved
    await migrate_vma_finalize(args)   # entries of the new pages, or the old ones back
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import Any

from sw_model.fault import (
    VM_FAULT_ERROR,
    VM_FAULT_OOM,
    VM_FAULT_SIGBUS,
    map_anon,
    release_page,
    thp_eligible,
)
from sw_model.locking import warn_on
from sw_model.mmu_notifier import (
    MmuNotifierRange,
    MmuNotifyEvent,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from sw_model.pagetable import DEVP, DEVX, EXCL, HPAGE, HPAGE_NR, MIG, PAGE_SIZE, PS, ZERO, D, P, W
from sw_model.phys import (
    PG_ANON,
    PG_DEVICE_PRIVATE,
    PG_DIRTY,
    PG_EXCL,
    PG_HUGE,
    PG_HUGETLB,
    PG_KSM,
    PG_RESERVED,
    PG_ZONE_DEVICE,
    POISON_FREE,
    PhysMem,
)
from sw_model.reclaim import remove_migration_huge, remove_migration_ptes, try_to_unmap
from sw_model.sched import point
from sw_model.thp import map_huge, split_folio, split_huge_pmd
from sw_model.vma import VM_HUGETLB, VM_READ, VM_SPECIAL, VM_WRITE, Vma

MIGRATE_PFN_VALID, MIGRATE_PFN_MIGRATE, MIGRATE_PFN_WRITE = 1 << 0, 1 << 1, 1 << 3
MIGRATE_PFN_COMPOUND = 1 << 4
MIGRATE_PFN_SHIFT = 6
MIGRATE_VMA_SELECT_SYSTEM, MIGRATE_VMA_SELECT_DEVICE_PRIVATE = 1 << 0, 1 << 1
MIGRATE_VMA_SELECT_DEVICE_COHERENT, MIGRATE_VMA_SELECT_COMPOUND = 1 << 2, 1 << 3

MEMORY_DEVICE_PRIVATE, MEMORY_DEVICE_COHERENT = 1, 2
#: contents of the frames that stand for device-private pages: nothing may read them
POISON_PRIVATE = 0xDB
#: vm_fault_t migrate_to_ram(vma, address, page)
MigrateToRam = Callable[[Vma, int, int], Awaitable[int]]
_NOT_EXCL = ~PG_EXCL & 0xFFFFFFFF


def migrate_pfn(pfn: int) -> int:
    """migrate_pfn(): a src or dst entry that names `pfn`."""
    return pfn << MIGRATE_PFN_SHIFT | MIGRATE_PFN_VALID


def migrate_pfn_to_page(mpfn: int) -> int:
    """migrate_pfn_to_page(): the pfn of an entry, -1 without one."""
    return mpfn >> MIGRATE_PFN_SHIFT if mpfn & MIGRATE_PFN_VALID else -1


class DevPagemap:
    """struct dev_pagemap: `nr_pages` of device memory of one kind, all free at first.

    Coherent pages are ordinary memory to the CPU. A private page has a pfn, but the CPU cannot reach its
    data: they are in the frame `backing(pfn)`, which only the device uses; the frame of the pfn is poisoned.
    The frames are in the aperture where PhysMem has one, else at the top of the host's memory.
    `owner` identifies the device in entries and events; `migrate_to_ram` handles CPU faults on private pages.
    Raises OSError(ENOMEM) when the memory has no room (memremap_pages).
    """

    def __init__(
        self,
        phys: PhysMem,
        nr_pages: int,
        kind: int,
        owner: object,
        migrate_to_ram: MigrateToRam | None = None,
    ) -> None:
        self.phys = phys
        self.kind = kind
        self.owner = owner
        self._migrate_to_ram = migrate_to_ram
        self.private = kind == MEMORY_DEVICE_PRIVATE
        self.nr_pages = nr_pages
        self._nr_frames = nr_pages * (2 if self.private else 1)
        align = HPAGE_NR if nr_pages % HPAGE_NR == 0 else 1
        self._aperture = phys.device_end > phys.device_pfn
        take = phys.alloc_device if self._aperture else phys.alloc_contig
        self.first_pfn = take(self._nr_frames, align)
        self.end_pfn = self.first_pfn + nr_pages
        self._page_flags = PG_ZONE_DEVICE | (PG_DEVICE_PRIVATE if self.private else 0)
        pages = slice(self.first_pfn, self.end_pfn)
        phys.refcount[pages] = 0
        phys.flags[pages] = self._page_flags
        if self.private:
            phys.memory[self.first_pfn * PAGE_SIZE : self.end_pfn * PAGE_SIZE] = POISON_PRIVATE
        self.free = list(range(self.end_pfn - 1, self.first_pfn - 1, -1))
        #: which mirror a page belongs to (zone_device_data)
        self.zone_device_data: dict[int, Any] = {}
        phys.pgmaps.append(self)
        if phys.on_frame_free is not None and not self._aperture:
            phys.on_frame_free(self.backing(self.first_pfn), nr_pages)

    def backing(self, pfn: int) -> int:
        """The frame that holds the data of the device page `pfn`: the one for the device to access."""
        return pfn + self.nr_pages if self.private else pfn

    def alloc(self) -> int:
        """A page with one reference, locked (zone_device_page_init); -1 when there is none."""
        if not self.free:
            return -1
        pfn = self.free.pop()
        phys = self.phys
        phys.refcount[pfn] = 1
        if phys.on_frame_alloc is not None:
            phys.on_frame_alloc(self.backing(pfn), 1)
        locked = phys.trylock_page(pfn)
        assert locked
        return pfn

    def alloc_huge(self) -> int:
        """512 aligned pages as one folio, as alloc(); the head, -1 when there are none."""
        free = set(self.free)
        first = -(-self.first_pfn // HPAGE_NR) * HPAGE_NR
        for head in range(first, self.end_pfn - HPAGE_NR + 1, HPAGE_NR):
            pages = range(head, head + HPAGE_NR)
            if free.issuperset(pages):
                self.free = [p for p in self.free if p not in pages]
                return self._alloc_folio(head)
        return -1

    def _alloc_folio(self, head: int) -> int:
        phys = self.phys
        phys.refcount[head] = 1
        phys.flags[head] |= PG_HUGE
        phys.head[head : head + HPAGE_NR] = head
        if phys.on_frame_alloc is not None:
            phys.on_frame_alloc(self.backing(head), HPAGE_NR)
        locked = phys.trylock_page(head)
        assert locked
        return head

    def page_free(self, pfn: int) -> None:
        """The last reference is gone (free_zone_device_folio); the data are poisoned."""
        phys = self.phys
        nr = HPAGE_NR if phys.flags[pfn] & PG_HUGE else 1
        used = phys.mapcount[pfn : pfn + nr].any() or phys.page_locked(pfn)
        assert not used, f"device pfn {pfn} freed in use"
        frame = self.backing(pfn)
        if phys.on_frame_free is not None:
            phys.on_frame_free(frame, nr)
        phys.memory[frame * PAGE_SIZE : (frame + nr) * PAGE_SIZE] = POISON_FREE
        phys.flags[pfn : pfn + nr] = self._page_flags
        phys.head[pfn : pfn + nr] = range(pfn, pfn + nr)
        for p in range(pfn, pfn + nr):
            self.zone_device_data.pop(p, None)
        self.free.extend(range(pfn + nr - 1, pfn - 1, -1))

    async def migrate_to_ram(self, vma: Vma, addr: int, pfn: int) -> int:
        """dev_pagemap_ops.migrate_to_ram(): VM_FAULT_*. The caller has the page locked and referenced."""
        if self._migrate_to_ram is None:
            return VM_FAULT_SIGBUS
        return await self._migrate_to_ram(vma, addr, pfn)

    def close(self) -> None:
        """memunmap_pages(): give the memory back. Every page must be free."""
        phys = self.phys
        warn_on(len(self.free) != self.nr_pages, "device pages in use at memunmap_pages")
        phys.pgmaps.remove(self)
        if self._aperture:
            phys.free_device(self.first_pfn, self._nr_frames)
            return
        if phys.on_frame_alloc is not None:
            phys.on_frame_alloc(self.backing(self.first_pfn), self.nr_pages)
        phys.refcount[self.first_pfn : self.end_pfn] = 1
        phys.flags[self.first_pfn : self.end_pfn] = PG_RESERVED
        phys.free_contig(self.first_pfn, self._nr_frames)


def data_frame(phys: PhysMem, pfn: int) -> int:
    """The frame with the data of any page: of a device page its backing, else the page itself."""
    return phys.pgmap(pfn).backing(pfn) if phys.flags[phys.head[pfn]] & PG_ZONE_DEVICE else pfn


class MigrateVma:
    """struct migrate_vma: [start, end) bytes of one VMA. `src` and `dst`: MIGRATE_PFN_* entries, one a page.

    `cpages`: pages that can move, after setup. `flags`: MIGRATE_VMA_SELECT_*. `fault_page`: the page of the
    CPU fault that is being served (locked, referenced), or -1.
    """

    def __init__(
        self, vma: Vma, start: int, end: int, pgmap_owner: object, flags: int, fault_page: int = -1
    ) -> None:
        self.vma = vma
        self.start, self.end = start, end
        self.pgmap_owner = pgmap_owner
        self.flags = flags
        self.fault_page = fault_page
        self.cpages = 0
        self.src: list[int] = []
        self.dst: list[int] = []


async def migrate_vma_setup(args: MigrateVma) -> int:
    """migrate_vma_setup(): collect the pages of [start, end) and unmap them; 0 or -EINVAL.

    Event MIGRATE with args.pgmap_owner, then CLEAR to other processes that map a page. Entries of src: 0
    (stays), MIGRATE (a hole or the zero page: dst is inserted), or the locked page with MIGRATE and WRITE.
    -EINVAL: unaligned or empty, not inside the VMA, a special VMA, a fault page that is not device-private.
    """
    vma, phys = args.vma, args.vma.vm_mm.phys
    start, end = args.start, args.end
    if (start | end) & (PAGE_SIZE - 1) or start >= end or vma.vm_flags & (VM_SPECIAL | VM_HUGETLB):
        return -errno.EINVAL
    if not (vma.vm_start <= start < vma.vm_end and end <= vma.vm_end):
        return -errno.EINVAL
    if args.fault_page >= 0 and not phys.flags[args.fault_page] & PG_DEVICE_PRIVATE:
        return -errno.EINVAL
    vma.vm_mm.mmap_lock.assert_held()
    n = (end - start) // PAGE_SIZE
    args.src, args.dst = [0] * n, [0] * n
    await _collect(args)
    await migrate_device_unmap(phys, args.src, args.fault_page)
    args.cpages = moving_pages(args.src)
    return 0


def moving_pages(src: list[int]) -> int:
    """How many pages the entries move."""
    moving = [s for s in src if s & MIGRATE_PFN_MIGRATE]
    return sum(HPAGE_NR if s & MIGRATE_PFN_COMPOUND else 1 for s in moving)


async def _collect(args: MigrateVma) -> None:
    """migrate_vma_collect()."""
    vma, mm = args.vma, args.vma.vm_mm
    r = MmuNotifierRange(mm, args.start, args.end, MmuNotifyEvent.MIGRATE, owner=args.pgmap_owner)
    await mmu_notifier_invalidate_range_start(r)
    addr = args.start
    while addr < args.end:
        stop = min(args.end, (addr & -HPAGE) + HPAGE)
        whole = args.flags & MIGRATE_VMA_SELECT_COMPOUND and stop - addr == HPAGE
        if whole and await _collect_huge(args, addr):
            addr = stop
            continue
        await _split_huge(args, addr, stop)
        await mm.page_table_lock.lock()
        await point("pte", mm)
        t = mm.pt.pte_table(addr)
        while addr < stop:
            if t is not None and t[(addr >> 12) & 511]:
                mpfn = _collect_one(args, t, (addr >> 12) & 511, addr)
            else:
                mpfn = MIGRATE_PFN_MIGRATE if vma.is_anon else 0
            args.src[(addr - args.start) // PAGE_SIZE] = mpfn
            addr += PAGE_SIZE
        mm.page_table_lock.unlock()
    await mmu_notifier_invalidate_range_end(r)


async def _collect_huge(args: MigrateVma, addr: int) -> bool:
    """migrate_vma_collect_huge_pmd(): the 2-MiB leaf at `addr`, or a hole of that size; False for neither."""
    vma, mm, phys = args.vma, args.vma.vm_mm, args.vma.vm_mm.phys
    await mm.page_table_lock.lock()
    await point("pte", mm)
    i = (addr - args.start) // PAGE_SIZE
    e = mm.pt.pmd_entry(addr)
    done = False
    if e == 0 and thp_eligible(vma, addr):
        args.src[i] = MIGRATE_PFN_MIGRATE | MIGRATE_PFN_COMPOUND
        done = True
    elif type(e) is int and e & (P | DEVP) and _wanted(args, e >> 12):
        head = e >> 12
        if head == args.fault_page or phys.trylock_page(head):
            phys.get_page(head)
            excl = EXCL if phys.flags[head] & PG_EXCL else 0
            if e & D:
                phys.flags[head] |= PG_DIRTY
            phys.flags[head] &= _NOT_EXCL
            bits = MIG | excl | (e & (W | D))
            mm.set_huge(addr, [(head + k) << 12 | bits for k in range(HPAGE_NR)])
            phys.del_rmap_pmd(head, mm, addr)
            for k in range(HPAGE_NR):
                phys.add_mig(head + k, mm, addr + k * PAGE_SIZE)
            phys.put_page(head)
            args.src[i] = migrate_pfn(head) | MIGRATE_PFN_MIGRATE | MIGRATE_PFN_COMPOUND
            args.src[i] |= MIGRATE_PFN_WRITE if e & W else 0
            done = True
    mm.page_table_lock.unlock()
    return done


def _wanted(args: MigrateVma, pfn: int) -> bool:
    """Is the page of the kind that args.flags select, and anonymous?"""
    phys = args.vma.vm_mm.phys
    flags = int(phys.flags[phys.head[pfn]])
    if flags & PG_ZONE_DEVICE:
        private = flags & PG_DEVICE_PRIVATE
        want = MIGRATE_VMA_SELECT_DEVICE_PRIVATE if private else MIGRATE_VMA_SELECT_DEVICE_COHERENT
        if not args.flags & want or phys.pgmap(pfn).owner is not args.pgmap_owner:
            return False
    elif not args.flags & MIGRATE_VMA_SELECT_SYSTEM:
        return False
    # The merge tree of KSM names its pages; only private anonymous memory moves to a device.
    return bool(flags & PG_ANON) and not flags & PG_KSM


async def _split_huge(args: MigrateVma, addr: int, stop: int) -> None:
    """Split the 2-MiB pages that [addr, stop), a part of one 2-MiB slot, maps; the pinned ones stay whole."""
    mm, phys = args.vma.vm_mm, args.vma.vm_mm.phys
    tried: set[int] = set()
    while True:
        await mm.page_table_lock.lock()
        entry = mm.pt.pmd_entry(addr)
        table = entry if type(entry) is list else None
        part: list[int] = [entry] if type(entry) is int else []
        if table is not None:
            part = table[(addr >> 12) & 511 : ((stop - 1 >> 12) & 511) + 1]
        pfn = -1
        for e in part:
            has = (e & DEVP or (e & P and not e & ZERO)) and _wanted(args, e >> 12)
            if has and phys.order_of(e >> 12) and int(phys.head[e >> 12]) not in tried:
                pfn = e >> 12
                tried.add(int(phys.head[pfn]))
                phys.get_page(pfn)
                break
        mm.page_table_lock.unlock()
        if pfn < 0:
            return
        if table is None:
            await split_huge_pmd(mm, addr & -HPAGE)
        await split_folio(phys, pfn)
        release_page(phys, pfn)


def _collect_one(args: MigrateVma, t: list, i: int, addr: int) -> int:
    """migrate_vma_collect_pmd() of one entry that is not empty; its src entry. page_table_lock held."""
    mm, phys = args.vma.vm_mm, args.vma.vm_mm.phys
    e, pfn = t[i], t[i] >> 12
    if e & P and e & ZERO:
        return MIGRATE_PFN_MIGRATE if args.flags & MIGRATE_VMA_SELECT_SYSTEM and args.vma.is_anon else 0
    if not e & (P | DEVP):
        return 0
    if not _wanted(args, pfn) or phys.order_of(pfn):
        return 0
    flags = int(phys.flags[pfn])
    if pfn != args.fault_page and not phys.trylock_page(pfn):
        return 0
    phys.get_page(pfn)
    excl = EXCL if flags & PG_EXCL else 0
    if e & D:
        phys.flags[pfn] |= PG_DIRTY
    phys.flags[pfn] &= _NOT_EXCL
    mm.set_pte(t, i, addr, (pfn << 12) | MIG | excl | (e & W))
    phys.add_mig(pfn, mm, addr)
    phys.del_rmap(pfn, mm, addr)
    phys.put_page(pfn)
    return migrate_pfn(pfn) | MIGRATE_PFN_MIGRATE | (MIGRATE_PFN_WRITE if e & W else 0)


async def migrate_device_unmap(phys: PhysMem, src: list[int], fault_page: int = -1) -> None:
    """migrate_device_unmap(): unmap the pages everywhere; those that are pinned go back, their src is 0.

    The pages are locked, and the migration has a reference on each.
    """
    for i, s in enumerate(src):
        pfn = migrate_pfn_to_page(s)
        if pfn < 0:
            continue
        if phys.order_of(pfn) and phys.mapcount[pfn : pfn + HPAGE_NR].any():
            for mm, haddr in list(phys.rmap_pmd.get(pfn, ())):
                await split_huge_pmd(mm, haddr)
            await try_to_unmap(phys, pfn, migrate=True, nr=HPAGE_NR)
        elif phys.mapcount[pfn]:
            await try_to_unmap(phys, pfn, migrate=True)
        if not _can_move(phys, pfn, fault_page):
            src[i] = s & ~MIGRATE_PFN_MIGRATE
    for i, s in enumerate(src):
        pfn = migrate_pfn_to_page(s)
        if pfn >= 0 and not s & MIGRATE_PFN_MIGRATE:
            await _remove_migration(phys, pfn, pfn)
            src[i] = 0
            _done_with(phys, pfn, fault_page)


def _can_move(phys: PhysMem, pfn: int, fault_page: int) -> bool:
    """migrate_vma_check_page(): no mapping is left, and no reference but the migration's and a cache's."""
    refs = 1 + (pfn == fault_page) + (pfn in phys.slot_of)
    nr = HPAGE_NR if phys.order_of(pfn) else 1
    return not phys.mapcount[pfn : pfn + nr].any() and int(phys.refcount[pfn]) == refs


async def _remove_migration(phys: PhysMem, old: int, new: int) -> None:
    if phys.order_of(old):
        await remove_migration_huge(phys, old, new)
    else:
        await remove_migration_ptes(phys, old, new)


def _done_with(phys: PhysMem, pfn: int, fault_page: int) -> None:
    if pfn != fault_page:
        phys.unlock_page(pfn)
    release_page(phys, pfn)


async def migrate_vma_pages(args: MigrateVma) -> None:
    """migrate_vma_pages(): dst pages (locked, with one reference) take the place of src pages.

    MIGRATE is cleared in src where that failed or dst is empty. Where src has no page, dst is mapped at once;
    those mappings are inside one MIGRATE event from the first of them to the end.
    """
    phys = args.vma.vm_mm.phys
    r: MmuNotifierRange | None = None
    for i, s in enumerate(args.src):
        if s & MIGRATE_PFN_VALID or not s & MIGRATE_PFN_MIGRATE:
            continue
        new = migrate_pfn_to_page(args.dst[i])
        addr = args.start + i * PAGE_SIZE
        if s & MIGRATE_PFN_COMPOUND and not args.dst[i] & MIGRATE_PFN_COMPOUND:
            args.src[i : i + HPAGE_NR] = [MIGRATE_PFN_MIGRATE] * HPAGE_NR
            s = MIGRATE_PFN_MIGRATE
        insert = _insert_huge if s & MIGRATE_PFN_COMPOUND else _insert_page
        if new >= 0 and r is None:
            mm = args.vma.vm_mm
            r = MmuNotifierRange(mm, addr, args.end, MmuNotifyEvent.MIGRATE, owner=args.pgmap_owner)
            await mmu_notifier_invalidate_range_start(r)
        if new < 0 or not await insert(args.vma, addr, new):
            args.src[i] = s & ~MIGRATE_PFN_MIGRATE
    await migrate_device_pages(phys, args.src, args.dst, args.fault_page)
    if phys.on_device_pte is not None:
        _tell_observers(args)
    if r is not None:
        await mmu_notifier_invalidate_range_end(r)


def _tell_observers(args: MigrateVma) -> None:
    """From here to the end of the migration the driver maps device pages whose entries are still to come."""
    mm, phys = args.vma.vm_mm, args.vma.vm_mm.phys
    for i, s in enumerate(args.src):
        old, new = migrate_pfn_to_page(s), migrate_pfn_to_page(args.dst[i])
        addr = args.start + i * PAGE_SIZE
        if s & MIGRATE_PFN_MIGRATE and old >= 0 and new >= 0 and phys.flags[new] & PG_ZONE_DEVICE:
            nr = HPAGE_NR if s & MIGRATE_PFN_COMPOUND else 1
            if all((mm, addr + k * PAGE_SIZE) in phys.rmap_mig.get(old + k, ()) for k in range(nr)):
                phys.on_device_pte(mm, addr, data_frame(phys, new), nr, bool(s & MIGRATE_PFN_WRITE))


async def migrate_device_pages(phys: PhysMem, src: list[int], dst: list[int], fault_page: int = -1) -> None:
    """migrate_device_pages(): as migrate_vma_pages, for src entries that name a page."""
    for i, s in enumerate(src):
        pfn, new = migrate_pfn_to_page(s), migrate_pfn_to_page(dst[i])
        if pfn < 0:
            continue
        await point("migrate", phys)
        if s & MIGRATE_PFN_COMPOUND and new >= 0 and not dst[i] & MIGRATE_PFN_COMPOUND:
            if not _can_move(phys, pfn, fault_page):
                src[i] = s & ~MIGRATE_PFN_MIGRATE
                continue
            s = _split_unmapped(phys, src, i)
        if new < 0 or not phys.free_swap_of(pfn) or not _can_move(phys, pfn, fault_page):
            src[i] = s & ~MIGRATE_PFN_MIGRATE
            continue
        # Not MADV_FREE'd any more: the device may write it.
        phys.flags[new] |= PG_ANON | PG_DIRTY
        phys.stats["migrate"] += 1


def _split_unmapped(phys: PhysMem, src: list[int], i: int) -> int:
    """migrate_vma_split_unmapped_folio(): src[i] and the 511 after it name small pages; the new src[i]."""
    head = migrate_pfn_to_page(src[i])
    flags = src[i] & (MIGRATE_PFN_MIGRATE | MIGRATE_PFN_WRITE)
    faulting = int(phys.refcount[head]) - 1
    phys.refcount[head] = 1
    phys.split_compound(head)
    phys.refcount[head] += faulting
    phys.stats["split"] += 1
    for k in range(HPAGE_NR):
        if k:
            phys.trylock_page(head + k)
        src[i + k] = migrate_pfn(head + k) | flags
    return src[i]


async def _insert_huge(vma: Vma, addr: int, new: int) -> bool:
    """migrate_vma_insert_huge_pmd_page(): map a 2-MiB device page where nothing was mapped."""
    mm, phys = vma.vm_mm, vma.vm_mm.phys
    await mm.page_table_lock.lock()
    ok = mm.pt.pmd_entry(addr) == 0
    if ok:
        phys.get_page(new)
        phys.flags[new] |= PG_DIRTY
        if phys.flags[new] & PG_DEVICE_PRIVATE:
            vma.anon_vma = True
            phys.flags[new] |= PG_ANON | PG_EXCL
            phys.add_rmap_pmd(new, mm, addr)
            mm.set_huge(addr, (new << 12) | DEVP | PS | (W if vma.vm_flags & VM_WRITE else 0))
        else:
            map_huge(mm, vma, addr, new)
    mm.page_table_lock.unlock()
    return ok


async def _insert_page(vma: Vma, addr: int, new: int) -> bool:
    """migrate_vma_insert_page(): map a device page where nothing, or the zero page, was mapped."""
    mm, phys = vma.vm_mm, vma.vm_mm.phys
    if not vma.is_anon:
        return False
    t = mm.pt.pte_alloc(addr)
    if t is None:
        return False
    await mm.page_table_lock.lock()
    i = (addr >> 12) & 511
    ok = mm.pt.pte_table(addr) is t and (t[i] == 0 or bool(t[i] & P and t[i] & ZERO))
    if ok:
        phys.get_page(new)
        phys.flags[new] |= PG_DIRTY
        if t[i]:
            mm.set_pte(t, i, addr, 0)
        if phys.flags[new] & PG_DEVICE_PRIVATE:
            vma.anon_vma = True
            phys.flags[new] |= PG_ANON | PG_EXCL
            phys.add_rmap(new, mm, addr)
            mm.set_pte(t, i, addr, (new << 12) | DEVP | (W if vma.vm_flags & VM_WRITE else 0))
        else:
            map_anon(mm, vma, addr, t, i, new, D)
    mm.page_table_lock.unlock()
    return ok


async def migrate_vma_finalize(args: MigrateVma) -> None:
    """migrate_vma_finalize(): migration entries become entries of dst, or of src where it stays."""
    await migrate_device_finalize(args.vma.vm_mm.phys, args.src, args.dst, args.fault_page)


async def migrate_device_finalize(
    phys: PhysMem, src: list[int], dst: list[int], fault_page: int = -1
) -> None:
    """migrate_device_finalize(): see migrate_vma_finalize. Unlocks and drops all pages of src and dst."""
    for i, s in enumerate(src):
        pfn, new = migrate_pfn_to_page(s), migrate_pfn_to_page(dst[i])
        if pfn >= 0:
            moved = new >= 0 and bool(s & MIGRATE_PFN_MIGRATE)
            await _remove_migration(phys, pfn, new if moved else pfn)
            _done_with(phys, pfn, fault_page)
        if new >= 0:
            phys.unlock_page(new)
            phys.put_page(new)


async def migrate_device_range(phys: PhysMem, start: int, npages: int) -> list[int]:
    """migrate_device_range(): src entries for the device pages from pfn `start`, unmapped everywhere.

    Entries of pages that are free, locked or pinned are 0. Follow with migrate_device_pages and _finalize.
    """
    src = []
    for pfn in range(start, start + npages):
        if phys.refcount[pfn] > 0 and phys.flags[pfn] & PG_HUGE:
            phys.get_page(pfn)
            await split_folio(phys, pfn)
            release_page(phys, pfn)
        ok = phys.refcount[pfn] > 0 and phys.trylock_page(pfn)
        if ok:
            phys.get_page(pfn)
        src.append(migrate_pfn(pfn) | MIGRATE_PFN_MIGRATE if ok else 0)
    await migrate_device_unmap(phys, src)
    return src


# -- device-exclusive access -----------------------------------------------------------------------


async def make_device_exclusive(mm: Any, addr: int, owner: object) -> int:
    """make_device_exclusive(): take the page at `addr` from the CPU; its pfn, locked, with a reference.

    A CPU access, a fork or anything else that needs the page brings it back with a CLEAR event. The caller
    holds mmap_lock and is inside a read section of its notifier; it skips EXCLUSIVE events of its own
    `owner` and checks the section before it maps the page. Event EXCLUSIVE.

    -EFAULT: no writable mapping (SIGBUS too). -ENOMEM. -EOPNOTSUPP: not an anonymous page of system memory.
    """
    phys = mm.phys
    mm.mmap_lock.assert_held()
    addr &= -PAGE_SIZE
    while True:
        pfn = await get_user_page(mm, addr)
        if pfn < 0:
            return pfn
        flags = int(phys.flags[phys.head[pfn]])
        if not flags & PG_ANON or flags & (PG_ZONE_DEVICE | PG_HUGETLB):
            phys.put_page(pfn)
            return -errno.EOPNOTSUPP
        await phys.lock_page(pfn)
        r = MmuNotifierRange(mm, addr, addr + PAGE_SIZE, MmuNotifyEvent.EXCLUSIVE, owner=owner)
        await mmu_notifier_invalidate_range_start(r)
        await mm.page_table_lock.lock()
        t = mm.pt.pte_table(addr)
        i = (addr >> 12) & 511
        e = t[i] if t is not None else 0
        ok = bool(e & P and e & W and e >> 12 == pfn)
        if ok:
            if e & D:
                phys.flags[phys.head[pfn]] |= PG_DIRTY
            mm.set_pte(t, i, addr, (pfn << 12) | DEVX)
        mm.page_table_lock.unlock()
        await mmu_notifier_invalidate_range_end(r)
        if ok:
            return pfn
        phys.unlock_page(pfn)
        release_page(phys, pfn)


async def get_user_page(mm: Any, addr: int, write: bool = True) -> int:
    """get_user_page_vma_remote(FOLL_GET | FOLL_SPLIT_PMD): a pfn with a reference, or -errno.

    With `write` (FOLL_WRITE) the entry is writable. mmap_lock is held.
    """
    perm, need = (W, VM_WRITE) if write else (P, VM_READ)
    while True:
        await mm.page_table_lock.lock()
        e = mm.pt.pmd_entry(addr)
        if type(e) is int and e & perm and e & P and mm.phys.flags[e >> 12] & PG_HUGETLB:
            mm.phys.get_page(e >> 12)
            mm.page_table_lock.unlock()
            return (e >> 12) + ((addr >> 12) & 511)
        if type(e) is list:
            e = e[(addr >> 12) & 511]
            if e & P and e & perm:
                mm.phys.get_page(e >> 12)
                mm.page_table_lock.unlock()
                return e >> 12
            e = 0
        mm.page_table_lock.unlock()
        vma = mm.vma_lookup(addr)
        if e and not (vma is not None and vma.vm_flags & VM_HUGETLB):
            await split_huge_pmd(mm, addr & -HPAGE)
            continue
        if vma is None or not vma.vm_flags & need:
            return -errno.EFAULT
        ret = await mm.handle_mm_fault(vma, addr, write)
        if ret & VM_FAULT_ERROR:
            return -errno.ENOMEM if ret & VM_FAULT_OOM else -errno.EFAULT
