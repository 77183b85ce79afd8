"""The test driver's commands (dmirror) on a real device: an SvmDriver, a device MMU, an access engine.

What the device reads and writes goes through the MMU: descriptors of the access engine copy between the range
and a buffer of the process itself (the `mirror` buffer of the kernel's tests), so both sides of a copy are
translated, faulted in and invalidated. Migration, exclusive access, snapshots and eviction are the driver's,
as in lib/test_hmm.c; the device page table of dmirror is what the MMU was given and not taken back.

Where it differs from sw_model.dmirror, because the device is another one:

- the pages of a range are accesses of their own: where one fails, others are done, and each faults alone;
- a page may be dropped from the MMU's cache at any time, and then faults again: exclusive access can end so;
- exclusive access is mapped writable (a CAS needs it), so that a write to such a page does not fault.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw_model.device_interface import DONE, WORK, Work, WorkStatus
from sw_model.devmem import MEMORY_DEVICE_PRIVATE, MigrateVma
from sw_model.dmirror import TAG_ATOMIC, TAG_READ, Command, Dmirror, DmirrorDevice
from sw_model.driver import Attachment, SvmDriver
from sw_model.engine import Engine
from sw_model.hmm import HMM_PFN_ORDER_SHIFT, HMM_PFN_VALID, HMM_PFN_WRITE
from sw_model.mm import MmStruct
from sw_model.mmu_notifier import MmuIntervalNotifier
from sw_model.pagetable import HPAGE, PAGE_SHIFT, PAGE_SIZE
from sw_model.phys import PhysMem
from sw_model.sched import Scheduler
from sw_model.transport import Transport
from sw_model.vma import MADV_HUGEPAGE, MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE

OK = int(WorkStatus.OK)


class SvmDmirrorDevice(DmirrorDevice):
    """A DmirrorDevice behind a Transport. `options` go to the SvmDriver; `open` gives a SvmDmirror."""

    def __init__(
        self,
        transport: Transport,
        phys: PhysMem,
        sched: Scheduler,
        nr_pages: int,
        kind: int = MEMORY_DEVICE_PRIVATE,
        **options: Any,
    ) -> None:
        super().__init__(phys, nr_pages, kind)
        self.driver = SvmDriver(transport, phys, sched, owner=self, **options)
        self.engine = Engine(transport, phys, sched)
        self.driver.on_faults = self._count_faults
        #: called with each SvmDmirror that is opened
        self.on_open: Callable[[SvmDmirror], None] | None = None

    async def probe(self) -> None:
        """Bring driver and engine up. Raises OSError as their probe()."""
        await self.driver.probe()
        await self.engine.probe()

    async def remove(self) -> None:
        """Stop engine and driver; their rings are free again."""
        await self.engine.stop()
        await self.driver.remove()

    async def open(self, mm: MmStruct) -> Dmirror:
        """Attach the process of `mm`: a SvmDmirror. Raises OSError(errno) as SvmDriver.attach()."""
        return await SvmDmirror.open(self, mm)

    def _count_faults(self, att: Attachment, records: list[tuple[int, int, int, int]]) -> None:
        for mirror in self.mirrors:
            assert isinstance(mirror, SvmDmirror)
            if mirror.att is att:
                for count in mirror.counts:
                    count.faults += sum(count.first <= r[0] < count.last for r in records)


@dataclass(eq=False)
class _Count:
    """Fault records for the pages [first, last) during one command."""

    first: int
    last: int
    faults: int = 0


class SvmDmirror(Dmirror):
    """A process attached to the device; the commands of Dmirror. Several may run at once."""

    device: SvmDmirrorDevice

    def __init__(self, device: SvmDmirrorDevice, mm: MmStruct, pasid: int) -> None:
        super().__init__(device)
        self.mm = mm
        self.pasid = pasid
        self.driver, self.engine = device.driver, device.engine
        self.att = self.driver.attachments[pasid]
        self.mutex = self.driver.lock
        #: pages that a migration or exclusive access reads back for the caller; 0 for all
        self.read_back = 0
        self.counts: list[_Count] = []
        self._buffers: list[tuple[int, int]] = []

    @classmethod
    async def open(cls, device: DmirrorDevice, mm: MmStruct) -> Dmirror:
        """Attach `mm` to the device. Raises OSError(errno) as SvmDriver.attach()."""
        assert isinstance(device, SvmDmirrorDevice)
        self = cls(device, mm, await device.driver.attach(mm))
        device.mirrors.append(self)
        if device.on_open is not None:
            device.on_open(self)
        # Before the process unmaps anything: a buffer must not move into a hole that it made.
        self._buffers += [await self._buffer(device.pagemap.nr_pages * PAGE_SIZE)]
        return self

    async def close(self) -> None:
        """Detach, then evict the device's memory."""
        if await self.mm.mmget_not_zero():
            for buffer in self._buffers:
                await self.mm.munmap(*buffer)
            await self.mm.mmput()
        await self.driver.detach(self.pasid)
        async with self.device.mirrors_lock.write():
            self.device.mirrors.remove(self)
        await self.device.evict()

    # -- what the MMU was given --------------------------------------------------------------------

    @property
    def section(self) -> MmuIntervalNotifier:
        return self.att.backend

    def events(self) -> int:
        return self.att.foreign_events

    def mapped(self, vpn: int) -> bool:
        """The device was given the page and it was not taken back."""
        return self.att.shadow.overlaps(vpn, vpn + 1)

    async def drop_moving(self, args: MigrateVma) -> None:
        if any(args.src):
            await self.driver.invalidate(self.att, args.start, args.end, True, lambda: None)

    async def map_pages(self, pages: dict[int, tuple[int, int]], valid: Callable[[], bool]) -> bool:
        if not pages:
            return valid()
        first = min(pages)
        pfns = np.zeros(max(pages) + 1 - first, np.uint64)
        for vpn, (pfn, tag) in pages.items():
            flags = HMM_PFN_VALID | (0 if tag == TAG_READ else HMM_PFN_WRITE)
            pfns[vpn - first] = pfn | flags | self.phys.order_of(pfn) << HMM_PFN_ORDER_SHIFT
        atomic = {vpn for vpn, (_, tag) in pages.items() if tag == TAG_ATOMIC}

        def still() -> bool:
            ok = valid()
            if ok:
                self.att.exclusive |= atomic
            return ok

        return await self.driver.map_pages(self.att, first, pfns, still)

    # -- accesses ----------------------------------------------------------------------------------

    async def _buffer(self, size: int) -> tuple[int, int]:
        """A buffer of the process for one command: (address of its mapping, length). Give it back."""
        for i, (_, length) in enumerate(self._buffers):
            if length >= size:
                return self._buffers.pop(i)
        rw, anon = PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS
        # With room to align it: the device reaches a large one through 2-MiB pages.
        length = size + HPAGE if size >= HPAGE else size
        start = await self.mm.mmap(0, length, rw, anon)
        if size >= HPAGE:
            await self.mm.madvise(start, length, MADV_HUGEPAGE)
        return start, length

    @staticmethod
    def _aligned(buffer: tuple[int, int]) -> int:
        return buffer[0] + HPAGE - 1 & -HPAGE if buffer[1] > HPAGE else buffer[0]

    async def copy_status(self, va: int, src: int, npages: int) -> NDArray[np.uint64]:
        """The device copies pages; the status of each (WorkStatus)."""
        offset = np.arange(npages, dtype=np.uint64) * np.uint64(PAGE_SIZE)
        rows = WORK.pack(
            op=np.full(npages, int(Work.COPY), np.uint64),
            pasid=self.pasid,
            len=PAGE_SIZE,
            va=np.uint64(va) + offset,
            src=np.uint64(src) + offset,
        )
        return DONE.get(await self.engine.run(rows), "status")

    async def _access(self, addr: int, npages: int, va: int, src: int) -> Command:
        """Copy on behalf of a command on [addr, ...); up to the first failure counts."""
        first = addr >> PAGE_SHIFT
        for v in range(first, first + npages):
            self.att.refused.pop(v, None)
        count = _Count(first, first + npages)
        self.counts.append(count)
        status = await self.copy_status(va, src, npages)
        self.counts.remove(count)
        bad = np.flatnonzero(status != OK)
        cmd = Command(cpages=int(bad[0]) if len(bad) else npages, faults=count.faults)
        if len(bad):
            cmd.ret = self.att.refused.get(first + cmd.cpages, -errno.EFAULT)
        return cmd

    async def read(self, addr: int, npages: int) -> Command:
        """HMM_DMIRROR_READ: the device copies the range to the process's buffer."""
        if not await self.mm.mmget_not_zero():
            return Command(-errno.EFAULT)
        buffer = await self._buffer(npages * PAGE_SIZE)
        at = self._aligned(buffer)
        cmd = await self._access(addr, npages, at, addr)
        cmd.data = await self.mm.load(at, cmd.cpages * PAGE_SIZE)
        self._buffers.append(buffer)
        await self.mm.mmput()
        return cmd

    async def read_unlocked(self, addr: int, npages: int) -> Command:
        """HMM_DMIRROR_READ_UNLOCKED: faults may drop mmap_lock, so that userfaultfd can serve them."""
        self.att.unlocked = True
        cmd = await self.read(addr, npages)
        self.att.unlocked = False
        return cmd

    async def write(self, addr: int, data: bytes) -> Command:
        """HMM_DMIRROR_WRITE: the device copies the process's buffer, which holds `data`, to the range."""
        if not await self.mm.mmget_not_zero():
            return Command(-errno.EFAULT)
        buffer = await self._buffer(len(data))
        at = self._aligned(buffer)
        await self.mm.store(at, data)
        cmd = await self._access(addr, len(data) // PAGE_SIZE, addr, at)
        self._buffers.append(buffer)
        await self.mm.mmput()
        return cmd

    async def read_mapped(self, addr: int, npages: int, late: Collection[int] = ()) -> Command:
        first = addr >> PAGE_SHIFT
        async with self.mutex:
            there = [self.mapped(v) or v << PAGE_SHIFT in late for v in range(first, first + npages)]
        done = npages if all(there) else there.index(False)
        cmd = await self.read(addr, min(done, self.read_back or done)) if done else Command()
        if not cmd.ret:
            cmd.cpages, cmd.ret = done, 0 if done == npages else -errno.ENOENT
        return cmd

    async def check_exclusive(self, addr: int, npages: int) -> Command:
        """HMM_DMIRROR_CHECK_EXCLUSIVE: -EPERM when the device still has exclusive access to a page."""
        first = addr >> PAGE_SHIFT
        async with self.mutex:
            held = any(v in self.att.exclusive for v in range(first, first + npages))
        return Command(-errno.EPERM if held else 0)

    async def cas(self, addr: int, old: int, new: int) -> tuple[int, int]:
        """The device compares and swaps 8 aligned bytes: (WorkStatus, old value)."""
        rows = WORK.pack(op=int(Work.CAS), pasid=self.pasid, va=addr, src=old, data=new)
        done = await self.engine.run(rows)
        return int(DONE.get(done, "status")[0]), int(DONE.get(done, "data")[0])
