"""The device side of Linux's HMM test driver (lib/test_hmm.c): a mirror of one process on a simple device.

The device has a page table of its own (a dict), no TLB and no page references: `mutex` is the user lock, and
one interval notifier over the whole address space keeps the table true. Device memory comes from
devmem.DevPagemap, private or coherent.

Where it differs from lib/test_hmm.c, it is to be sound:

- device-exclusive access is mapped inside a read section that skips the driver's own EXCLUSIVE events, one
  request at a time;
- the step that maps migrated pages checks that nothing was invalidated since the migration began, and takes
  the fault path after the migration otherwise;
- an own MIGRATE event is not ignored: the sequence is set, so that a fault that walked before the migration
  starts again, and entries of system memory go;
- invalidate erases [start, end), end exclusive, and the check for atomic entries holds the mutex;
- the fault path stores the backing of a device-private page, never the page itself;
- closing evicts what the device holds.

It has no 1 s timeout of the retry loop.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sw_model.devmem import (
    MEMORY_DEVICE_PRIVATE,
    MIGRATE_PFN_COMPOUND,
    MIGRATE_PFN_MIGRATE,
    MIGRATE_PFN_WRITE,
    MIGRATE_VMA_SELECT_COMPOUND,
    MIGRATE_VMA_SELECT_DEVICE_COHERENT,
    MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
    MIGRATE_VMA_SELECT_SYSTEM,
    DevPagemap,
    MigrateVma,
    data_frame,
    get_user_page,
    make_device_exclusive,
    migrate_device_finalize,
    migrate_device_pages,
    migrate_device_range,
    migrate_pfn,
    migrate_pfn_to_page,
    migrate_vma_finalize,
    migrate_vma_pages,
    migrate_vma_setup,
    moving_pages,
)
from sw_model.fault import VM_FAULT_OOM, VM_FAULT_SIGBUS, release_page
from sw_model.hmm import (
    HMM_PFN_ERROR,
    HMM_PFN_MASK,
    HMM_PFN_ORDER_SHIFT,
    HMM_PFN_REQ_FAULT,
    HMM_PFN_REQ_WRITE,
    HMM_PFN_VALID,
    HMM_PFN_WRITE,
    HmmRange,
    hmm_range_fault,
    hmm_range_fault_unlocked_timeout,
)
from sw_model.locking import Mutex, RwSem, warn_on
from sw_model.mm import MmStruct
from sw_model.mm_ops import get_unmapped_area
from sw_model.mmu_notifier import (
    ULONG_MAX,
    MmuIntervalNotifier,
    MmuIntervalNotifierOps,
    MmuNotifierRange,
    MmuNotifyEvent,
    mmu_interval_notifier_insert,
    mmu_interval_notifier_remove,
    mmu_interval_read_begin,
    mmu_interval_read_retry,
    mmu_interval_set_seq,
)
from sw_model.pagetable import HPAGE, HPAGE_NR, PAGE_SHIFT, PAGE_SIZE, A, P
from sw_model.phys import PG_DEVICE_PRIVATE, PG_ZONE_DEVICE, PhysMem
from sw_model.vma import VM_MAYREAD, VM_MAYWRITE, VM_MIXEDMAP, VM_READ, VM_WRITE, Vma

PROT_ERROR, PROT_NONE, PROT_READ, PROT_WRITE, PROT_PMD, PROT_ZERO = 0xFF, 0, 1, 2, 4, 0x10
PROT_DEV_PRIVATE_LOCAL, PROT_DEV_PRIVATE_REMOTE = 0x20, 0x30
PROT_DEV_COHERENT_LOCAL, PROT_DEV_COHERENT_REMOTE = 0x40, 0x50

TAG_READ, TAG_ATOMIC, TAG_WRITE = 0, 1, 3
FLAG_FAIL_ALLOC = 1
FAULT_PAGES = 32  # pages of one hmm_range_fault()
RangeFault = Callable[[HmmRange], Awaitable[int]]


@dataclass
class Command:
    """struct hmm_dmirror_cmd: result 0 or -errno, pages done, faults taken, and the data for the caller."""

    ret: int = 0
    cpages: int = 0
    faults: int = 0
    data: bytes = b""


class DmirrorDevice:
    """struct dmirror_device: `nr_pages` of device memory of `kind` (MEMORY_DEVICE_*); owner of its pages."""

    def __init__(self, phys: PhysMem, nr_pages: int, kind: int = MEMORY_DEVICE_PRIVATE) -> None:
        self.phys = phys
        self.pagemap = DevPagemap(phys, nr_pages, kind, self, self._migrate_to_ram)
        self.mirrors: list[Dmirror] = []
        #: a mirror leaves `mirrors` when nobody walks the list
        self.mirrors_lock = RwSem("mirrors")
        self.exclusive_lock = Mutex("exclusive")

    @property
    def select(self) -> int:
        """The MIGRATE_VMA_SELECT_* flag of its own memory."""
        private = self.pagemap.private
        return MIGRATE_VMA_SELECT_DEVICE_PRIVATE if private else MIGRATE_VMA_SELECT_DEVICE_COHERENT

    async def open(self, mm: MmStruct) -> Dmirror:
        """dmirror_fops_open() by the process of `mm`. Raises OSError(errno)."""
        return await Dmirror.open(self, mm)

    def owns(self, frame: int) -> bool:
        """True for a frame in which this device's memory keeps data."""
        first = self.pagemap.backing(self.pagemap.first_pfn)
        return first <= frame < first + self.pagemap.nr_pages

    async def evict(self) -> None:
        """dmirror_device_evict_chunk(): move every page that the device holds to system memory."""
        phys, pagemap = self.phys, self.pagemap
        src = await migrate_device_range(phys, pagemap.first_pfn, pagemap.nr_pages)
        dst = [0] * len(src)
        for i, s in enumerate(src):
            if s & MIGRATE_PFN_MIGRATE:
                new = await phys.alloc_page()
                if new >= 0:
                    phys.trylock_page(new)
                    phys.copy_pages(new, pagemap.backing(migrate_pfn_to_page(s)))
                    dst[i] = migrate_pfn(new) | s & MIGRATE_PFN_WRITE
        await migrate_device_pages(phys, src, dst)
        await migrate_device_finalize(phys, src, dst)

    def close(self) -> None:
        """Give the device's memory back; nothing may be in it."""
        warn_on(self.mirrors, "device removed while open")
        self.pagemap.close()

    async def _migrate_to_ram(self, vma: Vma, addr: int, pfn: int) -> int:
        """dmirror_devmem_fault(): one folio back to system memory. 0, VM_FAULT_OOM or VM_FAULT_SIGBUS."""
        owner = self.pagemap.zone_device_data[pfn].device
        size = PAGE_SIZE << self.phys.order_of(pfn)
        start, select = addr & -size, self.select | MIGRATE_VMA_SELECT_COMPOUND
        args = MigrateVma(vma, start, start + size, owner, select, fault_page=pfn)
        if await migrate_vma_setup(args):
            return VM_FAULT_SIGBUS
        ok = await self.copy_back(args)
        await migrate_vma_pages(args)
        await migrate_vma_finalize(args)
        return 0 if ok else VM_FAULT_OOM

    async def copy_back(self, args: MigrateVma) -> bool:
        """dmirror_devmem_fault_alloc_and_copy(): fill args.dst with system pages; False when out of memory.

        The device's own entries go first: nobody may write a page once it has been copied.
        """
        phys = self.phys
        async with self.mirrors_lock.read():
            for mirror in list(self.mirrors):
                if mirror.mm is args.vma.vm_mm:
                    await mirror.drop_moving(args)
        for i, s in enumerate(args.src):
            old = migrate_pfn_to_page(s)
            if not s & MIGRATE_PFN_MIGRATE or old < 0:
                continue
            src, huge = self.pagemap.backing(old), s & MIGRATE_PFN_COMPOUND
            if huge and not self._allocation_fails(old) and (new := phys.alloc_huge()) >= 0:
                phys.trylock_page(new)
                phys.copy_pages(new, src, HPAGE_NR)
                args.dst[i] = migrate_pfn(new) | MIGRATE_PFN_COMPOUND | s & MIGRATE_PFN_WRITE
                continue
            for k in range(HPAGE_NR if huge else 1):
                new = await phys.alloc_page()
                if new < 0:
                    return False
                phys.trylock_page(new)
                phys.copy_pages(new, src + k)
                args.dst[i + k] = migrate_pfn(new) | s & MIGRATE_PFN_WRITE
        return True

    def _allocation_fails(self, pfn: int) -> bool:
        """HMM_DMIRROR_FLAG_FAIL_ALLOC of the mirror that the device page belongs to."""
        mirror = self.pagemap.zone_device_data.get(pfn)
        return mirror is not None and mirror.allocation_fails()


class _MirrorOps(MmuIntervalNotifierOps):
    """dmirror_min_ops."""

    async def invalidate(self, sub: MmuIntervalNotifier, range_: MmuNotifierRange, cur_seq: int) -> bool:
        assert isinstance(sub, Dmirror)
        own = range_.owner is sub.device
        if own and range_.event == MmuNotifyEvent.EXCLUSIVE:
            return True  # else the read section around it would never hold
        if range_.blockable:
            await sub.mutex.lock()
        elif not await sub.mutex.trylock():
            return False
        mmu_interval_set_seq(sub, cur_seq)
        moving = own and range_.event == MmuNotifyEvent.MIGRATE
        sub.foreign_events += not moving
        sub.erase(range_.start, range_.end, keep_own=moving)
        sub.mutex.unlock()
        return True


class _Snapshot(MmuIntervalNotifier):
    """struct dmirror_interval: the notifier of one snapshot."""

    def __init__(self, mutex: Mutex) -> None:
        super().__init__()
        self.mutex = mutex


class _SnapshotOps(MmuIntervalNotifierOps):
    """dmirror_mrn_ops."""

    async def invalidate(self, sub: MmuIntervalNotifier, range_: MmuNotifierRange, cur_seq: int) -> bool:
        assert isinstance(sub, _Snapshot)
        if range_.blockable:
            await sub.mutex.lock()
        elif not await sub.mutex.trylock():
            return False
        mmu_interval_set_seq(sub, cur_seq)
        sub.mutex.unlock()
        return True


_MIRROR_OPS, _SNAPSHOT_OPS = _MirrorOps(), _SnapshotOps()


class Dmirror(MmuIntervalNotifier):
    """struct dmirror: one open file of a device. `pt`: page number -> (frame, TAG_*).

    Addresses are bytes, page aligned; the commands return a Command whose `ret` is 0 or a negative errno.
    """

    def __init__(self, device: DmirrorDevice) -> None:
        super().__init__()
        self.device = device
        self.phys = device.phys
        self.mutex = Mutex("dmirror")
        self.pt: dict[int, tuple[int, int]] = {}
        #: invalidations other than the device's own migrations; changed with the mutex held
        self.foreign_events = 0
        #: HMM_DMIRROR_FLAGS
        self.flags = 0

    @classmethod
    async def open(cls, device: DmirrorDevice, mm: MmStruct) -> Dmirror:
        """dmirror_fops_open() by the process of `mm`. Raises OSError(errno)."""
        self = cls(device)
        ret = await mmu_interval_notifier_insert(self, mm, 0, ULONG_MAX & -PAGE_SIZE, _MIRROR_OPS)
        if ret:
            raise OSError(-ret, "dmirror open")
        device.mirrors.append(self)
        return self

    async def close(self) -> None:
        """dmirror_fops_release(): stop mirroring, then evict the device's memory."""
        async with self.mutex:
            self.erase(0, ULONG_MAX)
        await mmu_interval_notifier_remove(self)
        async with self.device.mirrors_lock.write():
            self.device.mirrors.remove(self)
        await self.device.evict()

    # -- the device's page table -------------------------------------------------------------------

    @property
    def section(self) -> MmuIntervalNotifier:
        """The notifier whose read sections guard what is mapped."""
        return self

    def events(self) -> int:
        """Invalidations so far other than the device's own migrations."""
        return self.foreign_events

    def erase(self, start: int, end: int, keep_own: bool = False) -> None:
        """dmirror_do_update(): forget [start, end); with `keep_own`, not what is in own memory."""
        first, last = start >> PAGE_SHIFT, -(-end >> PAGE_SHIFT)
        span: Iterable[int] = range(first, last)
        if last - first > len(self.pt):
            span = [v for v in self.pt if first <= v < last]
        for v in span:
            entry = self.pt.get(v)
            if entry is None or (keep_own and self.device.owns(entry[0])):
                continue
            del self.pt[v]
            if entry[1] != TAG_READ and not self.device.owns(entry[0]):
                self.phys.set_page_dirty(entry[0])

    async def drop_moving(self, args: MigrateVma) -> None:
        """Forget the pages of `args` that are about to move."""
        async with self.mutex:
            for i, s in enumerate(args.src):
                if s & MIGRATE_PFN_MIGRATE:
                    nr = HPAGE_NR if s & MIGRATE_PFN_COMPOUND else 1
                    self.erase(args.start + i * PAGE_SIZE, args.start + (i + nr) * PAGE_SIZE)

    def _store(self, vpn: int, pfn: int, tag: int) -> None:
        frame = data_frame(self.phys, pfn)
        private = int(self.phys.flags[frame]) & PG_DEVICE_PRIVATE
        warn_on(private, "a device-private page has no data of its own")
        self.pt[vpn] = (frame, tag)

    async def map_pages(self, pages: dict[int, tuple[int, int]], valid: Callable[[], bool]) -> bool:
        """Map page number -> (pfn, TAG_*); False when `valid()`, asked with the mutex held, says no."""
        async with self.mutex:
            ok = valid()
            if ok:
                for vpn, (pfn, tag) in pages.items():
                    self._store(vpn, pfn, tag)
        return ok

    async def read_mapped(self, addr: int, npages: int, late: Collection[int] = ()) -> Command:
        """The device reads what it has mapped already; -ENOENT from the first page on that it has not.

        The pages at the addresses `late` it may fault in before.
        """
        cmd, out = Command(), bytearray()
        for a in late:
            await self._fault(a, a + PAGE_SIZE, False)
        async with self.mutex:
            cmd.ret = self._do_read(addr, npages, out)
        cmd.cpages, cmd.data = len(out) >> PAGE_SHIFT, bytes(out)
        return cmd

    # -- commands ----------------------------------------------------------------------------------

    async def read(self, addr: int, npages: int) -> Command:
        """HMM_DMIRROR_READ: the device reads; -EFAULT where it may not, -EPERM, -ENOMEM."""
        return await self._read(addr, npages, self._range_fault)

    async def read_unlocked(self, addr: int, npages: int) -> Command:
        """HMM_DMIRROR_READ_UNLOCKED: faults may drop mmap_lock, so that userfaultfd can serve them."""
        return await self._read(addr, npages, self._range_fault_unlocked)

    async def _read(self, addr: int, npages: int, fault: RangeFault) -> Command:
        cmd = Command()
        out = bytearray()
        while True:
            async with self.mutex:
                cmd.ret = self._do_read(addr, npages, out)
            cmd.cpages = len(out) >> PAGE_SHIFT
            if cmd.ret != -errno.ENOENT:
                break
            cmd.ret = await self._fault(addr + len(out), addr + npages * PAGE_SIZE, False, fault)
            if cmd.ret:
                break
            cmd.faults += 1
        cmd.data = bytes(out)
        return cmd

    def _do_read(self, addr: int, npages: int, out: bytearray) -> int:
        """dmirror_do_read(): append pages to `out` until one is not mapped (-ENOENT). Mutex held."""
        while len(out) < npages * PAGE_SIZE:
            entry = self.pt.get((addr + len(out)) >> PAGE_SHIFT)
            if entry is None:
                return -errno.ENOENT
            out += self._page((addr + len(out)) >> PAGE_SHIFT, entry[0], False).tobytes()
        return 0

    def _page(self, vpn: int, frame: int, write: bool) -> NDArray[np.uint8]:
        """The bytes that the device accesses at page `vpn` through its entry. Mutex held."""
        return self.phys.page_view(frame)

    async def write(self, addr: int, data: bytes) -> Command:
        """HMM_DMIRROR_WRITE of whole pages: -EFAULT, -EPERM (read-only VMA), -ENOMEM."""
        cmd = Command()
        npages = len(data) >> PAGE_SHIFT
        while True:
            async with self.mutex:
                while cmd.cpages < npages:
                    entry = self.pt.get((addr >> PAGE_SHIFT) + cmd.cpages)
                    if entry is None or entry[1] != TAG_WRITE:
                        break
                    at = cmd.cpages * PAGE_SIZE
                    view = self._page((addr >> PAGE_SHIFT) + cmd.cpages, entry[0], True)
                    view[:] = memoryview(data)[at : at + PAGE_SIZE]
                    cmd.cpages += 1
            if cmd.cpages == npages:
                return cmd
            cmd.ret = await self._fault(addr + cmd.cpages * PAGE_SIZE, addr + len(data), True)
            if cmd.ret:
                return cmd
            cmd.faults += 1

    async def _fault(self, start: int, end: int, write: bool, fault: RangeFault | None = None) -> int:
        """dmirror_fault(): map [start, end) for the device; 0 or the error of hmm_range_fault()."""
        mm = self.mm
        if not await mm.mmget_not_zero():
            return -errno.EFAULT
        ret = 0
        flags = HMM_PFN_REQ_FAULT | (HMM_PFN_REQ_WRITE if write else 0)
        for at in range(start, end, FAULT_PAGES * PAGE_SIZE):
            stop = min(end, at + FAULT_PAGES * PAGE_SIZE)
            rng = HmmRange(self, at, stop, None, flags, dev_private_owner=self.device)
            ret = await (fault or self._range_fault)(rng)
            if ret:
                break
            for i, p in enumerate(rng.pfns.tolist()):
                warn_on(not p & HMM_PFN_VALID or p & HMM_PFN_ERROR, "a requested page is not valid")
                warn_on(write and not p & HMM_PFN_WRITE, "a page requested for writing is read-only")
                self._map_faulted((at >> PAGE_SHIFT) + i, p)
            self.mutex.unlock()
        await mm.mmput()
        return ret

    def _map_faulted(self, vpn: int, hmm_pfn: int) -> None:
        """Enter one result of hmm_range_fault(). Mutex held."""
        self._store(vpn, hmm_pfn & HMM_PFN_MASK, TAG_WRITE if hmm_pfn & HMM_PFN_WRITE else TAG_READ)

    async def _range_fault(self, rng: HmmRange) -> int:
        """dmirror_range_fault(): 0 with the mutex held and the section valid, else -errno."""
        mm = self.mm
        while True:
            rng.notifier_seq = await mmu_interval_read_begin(rng.notifier)
            async with mm.mmap_lock.read():
                ret = await hmm_range_fault(rng)
            if ret == -errno.EBUSY:
                continue
            if ret:
                return ret
            await self.mutex.lock()
            if not mmu_interval_read_retry(rng.notifier, rng.notifier_seq):
                return 0
            self.mutex.unlock()

    async def _range_fault_unlocked(self, rng: HmmRange) -> int:
        """dmirror_range_fault_unlocked(): as _range_fault()."""
        while True:
            ret = await hmm_range_fault_unlocked_timeout(rng)
            if ret:
                return ret
            await self.mutex.lock()
            if not mmu_interval_read_retry(rng.notifier, rng.notifier_seq):
                return 0
            self.mutex.unlock()

    async def migrate_to_dev(self, addr: int, npages: int) -> Command:
        """HMM_DMIRROR_MIGRATE_TO_DEV: move what can be moved; then the device reads the range.

        -EINVAL: no readable VMA there. -ENOENT: a page of it is not mapped by the device afterwards.
        """
        cmd = Command()
        mm, end = self.mm, addr + npages * PAGE_SIZE
        if not await mm.mmget_not_zero():
            return Command(-errno.EINVAL)
        late: list[int] = []
        async with mm.mmap_lock.read():
            at = addr
            while at < end and not cmd.ret:
                args = self._chunk(at, end, MIGRATE_VMA_SELECT_SYSTEM)
                cmd.ret = -errno.EINVAL if args is None else await self._chunk_to_dev(args, late)
                at = args.end if args is not None else end
        if not cmd.ret:
            cmd = await self.read_mapped(addr, npages, late)
        await mm.mmput()
        return cmd

    def _chunk(self, at: int, end: int, flags: int) -> MigrateVma | None:
        """The arguments for the part of [at, end) in the VMA and page table of `at`; None if unreadable."""
        vma = self.mm.vma_lookup(at)
        if vma is None or not vma.vm_flags & VM_READ:
            return None
        stop = min(end, (at & -HPAGE) + HPAGE, vma.vm_end)
        return MigrateVma(vma, at, stop, self.device, flags | MIGRATE_VMA_SELECT_COMPOUND)

    async def _chunk_to_dev(self, args: MigrateVma, late: list[int]) -> int:
        """Migrate one chunk; `late` gets pages that moved while something else was invalidated."""
        events = self.events()
        # An invalidation that has called back already may still have its entries to clear.
        await mmu_interval_read_begin(self.section)
        ret = await migrate_vma_setup(args)
        if ret:
            return ret
        for i, s in enumerate(args.src):
            if s & MIGRATE_PFN_MIGRATE:
                self._alloc_and_copy(args, i)
        await migrate_vma_pages(args)
        pages = {
            (args.start >> PAGE_SHIFT) + i + k: (new + k, TAG_WRITE if d & MIGRATE_PFN_WRITE else TAG_READ)
            for i, (s, d) in enumerate(zip(args.src, args.dst, strict=True))
            if s & MIGRATE_PFN_MIGRATE and (new := migrate_pfn_to_page(d)) >= 0
            for k in range(HPAGE_NR if s & MIGRATE_PFN_COMPOUND else 1)
        }
        if not await self.map_pages(pages, lambda: self._undisturbed(events)):
            late += [vpn << PAGE_SHIFT for vpn in pages]
        await migrate_vma_finalize(args)
        return 0

    def _alloc_and_copy(self, args: MigrateVma, i: int) -> None:
        """dmirror_migrate_alloc_and_copy() of one entry; small pages where there is no 2-MiB one."""
        pagemap, phys, s = self.device.pagemap, self.phys, args.src[i]
        old, huge = migrate_pfn_to_page(s), s & MIGRATE_PFN_COMPOUND
        new = pagemap.alloc_huge() if huge and not self.allocation_fails() else -1
        whole = new >= 0
        for k in range(1 if whole or not huge else HPAGE_NR):
            if not whole:
                new = pagemap.alloc()
            if new < 0:
                continue
            nr, frame = HPAGE_NR if whole else 1, pagemap.backing(new)
            pagemap.zone_device_data.update((p, self) for p in range(new, new + nr))
            if old >= 0:
                phys.copy_pages(frame, old + k, nr)
            else:
                phys.memory[frame * PAGE_SIZE : (frame + nr) * PAGE_SIZE] = 0
            args.dst[i + k] = migrate_pfn(new) | s & MIGRATE_PFN_WRITE
            if whole:
                args.dst[i] |= MIGRATE_PFN_COMPOUND

    def allocation_fails(self) -> bool:
        """FLAG_FAIL_ALLOC: true once for the next allocation of a 2-MiB page."""
        fails, self.flags = bool(self.flags & FLAG_FAIL_ALLOC), self.flags & ~FLAG_FAIL_ALLOC
        return fails

    def _undisturbed(self, events: int) -> bool:
        """Nothing was invalidated since `foreign_events` was `events`. Mutex held."""
        return self.events() == events

    async def migrate_to_sys(self, addr: int, npages: int) -> Command:
        """HMM_DMIRROR_MIGRATE_TO_SYS: `cpages` pages moved. -EINVAL: no readable VMA; -ENOMEM."""
        cmd = Command()
        mm, end = self.mm, addr + npages * PAGE_SIZE
        if not await mm.mmget_not_zero():
            return Command(-errno.EINVAL)
        async with mm.mmap_lock.read():
            at = addr
            while at < end and not cmd.ret:
                args = self._chunk(at, end, self.device.select)
                if args is None:
                    cmd.ret = -errno.EINVAL
                    break
                at = args.end
                cmd.ret = await migrate_vma_setup(args)
                if cmd.ret:
                    break
                if not await self.device.copy_back(args):
                    cmd.ret = -errno.ENOMEM
                await migrate_vma_pages(args)
                cmd.cpages += moving_pages([s for s in args.src if migrate_pfn_to_page(s) >= 0])
                await migrate_vma_finalize(args)
        await mm.mmput()
        return cmd

    async def release(self) -> Command:
        """HMM_DMIRROR_RELEASE: evict everything that the device holds."""
        await self.device.evict()
        return Command()

    async def exclusive(self, addr: int, npages: int) -> Command:
        """HMM_DMIRROR_EXCLUSIVE: map for atomic access, then read. Errors: make_device_exclusive().

        One request of the device at a time: each takes the page from the others, whose sections then end.
        """
        async with self.device.exclusive_lock:
            return await self._exclusive(addr, npages)

    async def _exclusive(self, addr: int, npages: int) -> Command:
        cmd = Command()
        mm = self.mm
        if not await mm.mmget_not_zero():
            return Command(-errno.EINVAL)
        async with mm.mmap_lock.read():
            for a in range(addr, addr + npages * PAGE_SIZE, PAGE_SIZE):
                cmd.ret = await self._map_exclusive(a)
                if cmd.ret:
                    break
        await mm.mmput()
        return cmd if cmd.ret else await self.read_mapped(addr, npages)

    async def _map_exclusive(self, addr: int) -> int:
        done = False
        while not done:
            # Outside the section: taking a page back that is exclusive already sends CLEAR, and so would
            # end the section every time.
            pfn = await get_user_page(self.mm, addr)
            if pfn < 0:
                return pfn
            release_page(self.phys, pfn)
            seq = await mmu_interval_read_begin(self.section)
            pfn = await make_device_exclusive(self.mm, addr, self.device)
            if pfn < 0:
                return pfn
            done = await self.map_pages(
                {addr >> PAGE_SHIFT: (pfn, TAG_ATOMIC)},
                lambda seq=seq: not mmu_interval_read_retry(self.section, seq),
            )
            self.phys.unlock_page(pfn)
            release_page(self.phys, pfn)
        return 0

    async def check_exclusive(self, addr: int, npages: int) -> Command:
        """HMM_DMIRROR_CHECK_EXCLUSIVE: -EPERM when the device still has exclusive access to a page."""
        first = addr >> PAGE_SHIFT
        async with self.mutex:
            held = any(self.pt.get(v, (0, 0))[1] == TAG_ATOMIC for v in range(first, first + npages))
        return Command(-errno.EPERM if held else 0)

    async def snapshot(self, addr: int, npages: int) -> Command:
        """HMM_DMIRROR_SNAPSHOT: one PROT_* byte a page, as hmm_range_fault() sees it without faulting."""
        cmd = Command()
        mm, end = self.mm, addr + npages * PAGE_SIZE
        if not await mm.mmget_not_zero():
            return Command(-errno.EINVAL)
        out = bytearray()
        for at in range(addr, end, FAULT_PAGES * PAGE_SIZE):
            stop = min(end, at + FAULT_PAGES * PAGE_SIZE)
            sub = _Snapshot(self.mutex)
            cmd.ret = await mmu_interval_notifier_insert(sub, mm, at, stop - at, _SNAPSHOT_OPS)
            if cmd.ret:
                break
            pfns = np.zeros((stop - at) >> PAGE_SHIFT, np.uint64)
            cmd.ret = await self._range_fault(HmmRange(sub, at, stop, pfns, dev_private_owner=self.device))
            if not cmd.ret:
                out += bytes(self._permission(p) for p in pfns.tolist())
                self.mutex.unlock()
            await mmu_interval_notifier_remove(sub)
            if cmd.ret:
                break
        await mm.mmput()
        cmd.cpages, cmd.data = len(out), bytes(out)
        return cmd

    def _permission(self, p: int) -> int:
        """dmirror_mkentry(): the PROT_* byte of one hmm pfn."""
        if p & HMM_PFN_ERROR:
            return PROT_ERROR
        if not p & HMM_PFN_VALID:
            return PROT_NONE
        pfn = p & HMM_PFN_MASK
        flags = int(self.phys.flags[pfn])
        perm = PROT_ZERO if pfn == self.phys.zero_pfn else PROT_NONE
        if flags & PG_ZONE_DEVICE:
            local = self.phys.pgmap(pfn).owner is self.device
            if flags & PG_DEVICE_PRIVATE:
                perm = PROT_DEV_PRIVATE_LOCAL if local else PROT_DEV_PRIVATE_REMOTE
            else:
                perm = PROT_DEV_COHERENT_LOCAL if local else PROT_DEV_COHERENT_REMOTE
        perm |= PROT_WRITE if p & HMM_PFN_WRITE else PROT_READ
        return perm | (PROT_PMD if p >> HMM_PFN_ORDER_SHIFT & 0x1F == 9 else 0)

    async def mmap(self, npages: int) -> int:
        """dmirror_fops_mmap() with MAP_PRIVATE: read-only entries of fresh pages in a VM_MIXEDMAP area.

        The address. Raises OSError(ENOMEM).
        """
        mm, phys = self.mm, self.phys
        async with mm.mmap_lock.write():
            size = npages * PAGE_SIZE
            addr = get_unmapped_area(mm, size)
            flags = VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MIXEDMAP
            mm.vma_list.insert(Vma(mm, addr, addr + size, flags, None, 0))
            for a in range(addr, addr + size, PAGE_SIZE):
                pfn = await phys.alloc_page(zero=True)
                if pfn < 0:
                    raise OSError(errno.ENOMEM, "dmirror mmap")
                table = mm.pt.pte_alloc(a)
                assert table is not None
                async with mm.page_table_lock:
                    phys.add_rmap(pfn, mm, a)
                    mm.set_pte(table, (a >> PAGE_SHIFT) & 511, a, (pfn << PAGE_SHIFT) | P | A)
        return addr
