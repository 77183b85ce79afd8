"""What drivers of device memory add to dmirror: requests in the pfns, binds, fault batches, parts of folios.

Each class is the piece of a driver in which a published bug lived, in its fixed form, over the real dmirror
and memory management of explore.dmirror_world. The mutants put the bugs back.
"""

from __future__ import annotations

import errno
from typing import Any

from sw_model.devmem import MIGRATE_VMA_SELECT_SYSTEM, MigrateVma
from sw_model.dmirror import TAG_READ, Dmirror, DmirrorDevice
from sw_model.explore.dmirror_world import BASE, PAGE, RW, DmirrorWorld, Mirror, Script, Watch
from sw_model.explore.notes import note
from sw_model.explore.world import now
from sw_model.hmm import (
    HMM_PFN_MASK,
    HMM_PFN_ORDER_SHIFT,
    HMM_PFN_REQ_FAULT,
    HMM_PFN_REQ_WRITE,
    HmmRange,
    hmm_range_fault,
)
from sw_model.locking import Mutex
from sw_model.mm import MADV_DONTNEED, PROT_READ, MmStruct
from sw_model.mmu_notifier import (
    MmuIntervalNotifierOps,
    MmuNotifierRange,
    mmu_interval_notifier_insert,
    mmu_interval_read_begin,
    mmu_interval_read_retry,
    mmu_interval_set_seq,
)
from sw_model.pagetable import HPAGE, HPAGE_NR, PAGE_SHIFT, PteKind
from sw_model.sched import Scheduler, point

READ, WRITE, ATOMIC = 0, 1, 2


class NouveauMirror(Mirror):
    """The fault path of nouveau_svm: requests page by page, batches of faults, binds of ranges with holes."""

    def request(self, rng: HmmRange, flags: int) -> None:
        """The pfns are input and output: as requests they are written before every attempt."""
        rng.pfns[:] = flags

    async def _range_fault(self, rng: HmmRange) -> int:
        """nouveau_range_fault(): 0 with the mutex held and the section valid, else -errno."""
        flags, rng.default_flags = rng.default_flags, 0
        rng.pfn_flags_mask = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE
        rng.pfns[:] = flags
        while True:
            rng.notifier_seq = await mmu_interval_read_begin(self)
            self.request(rng, flags)
            async with self.mm.mmap_lock.read():
                ret = await hmm_range_fault(rng)
            if ret and ret != -errno.EBUSY:
                return ret
            await self.mutex.lock()
            if not ret and not mmu_interval_read_retry(self, rng.notifier_seq):
                return 0
            self.mutex.unlock()

    def intersection(self, vma: Any, start: int, end: int) -> tuple[int, int]:
        """The part of [start, end) in the VMA that find_vma_intersection() found; it may begin later."""
        return max(start, vma.vm_start), min(end, vma.vm_end)

    async def bind(self, addr: int, npages: int) -> int:
        """nouveau_svmm_bind(): migrate what is mapped of the range to the device. 0 or -errno."""
        end = addr + npages * PAGE
        late: list[int] = []
        async with self.mm.mmap_lock.read():
            while addr < end:
                vma = self.mm.find_vma(addr)
                if vma is None or vma.vm_start >= end:
                    break
                start, stop = self.intersection(vma, addr, end)
                args = MigrateVma(vma, start, stop, self.device, MIGRATE_VMA_SELECT_SYSTEM)
                ret = await self._chunk_to_dev(args, late)
                if ret:
                    return ret
                addr = stop
        return 0

    def is_atomic(self, access: int, before: bool) -> bool:
        """Does this fault of a batch need exclusive access? `before`: the one before it did."""
        return access == ATOMIC

    async def service(self, faults: list[tuple[int, int]]) -> list[int]:
        """nouveau_svm_fault(): a batch of (page, access), by address; the result of each."""
        out = []
        atomic = False
        for page, access in sorted(faults):
            atomic = self.is_atomic(access, atomic)
            addr = BASE + page * PAGE
            if atomic:
                ret = (await self.exclusive(addr, 1)).ret
            else:
                ret = await self._fault(addr, addr + PAGE, access != READ)
            note(f"fault at page {page}, {('read', 'write', 'atomic')[access]}: {ret}")
            out.append(ret)
        return out


class NouveauWorld(DmirrorWorld):
    """A process with a nouveau-like device."""

    mirror = NouveauMirror

    async def batch(self) -> None:
        """A generated batch of one fault a page; page 1 is read-only. Legal ones succeed, others do not."""
        await self.mm.mprotect(BASE + PAGE, PAGE, PROT_READ)
        choose = self.sched.choose  # type: ignore[attr-defined]
        faults = [(page, choose(3)) for page in range(self.pages)]
        for (page, access), ret in zip(faults, await self.fd.service(faults), strict=True):
            legal = access == READ or page != 1
            assert (ret == 0) == legal, f"access {access} to page {page}: {ret}"

    async def device_read(self) -> None:
        """The device reads page 0, which it always may."""
        cmd = await self.fd.read(BASE, 1)
        assert cmd.ret == 0, f"device read: {cmd.ret}"

    async def protect(self) -> None:
        """mprotect(PROT_READ)."""
        await self.mm.mprotect(BASE, PAGE, PROT_READ)


class BindScript(Script):
    """Generated: holes come and go, and the device binds the whole range."""

    WHOLE = (*Script.WHOLE, "bind")

    async def finish(self) -> None:
        """Nothing: pages may be unmapped."""

    async def hole(self, p: int) -> None:
        """munmap(), or mmap() again."""
        addr = BASE + p * PAGE
        if self.w.mm.vma_lookup(addr) is None:
            await self.w.mm.mmap(addr, PAGE, RW, 0x32)
        else:
            await self.w.mm.munmap(addr, PAGE)

    async def bind(self) -> None:
        """What is mapped is on the device afterwards."""
        ret = await self.w.fd.bind(BASE, self.w.pages)
        assert ret == 0, f"bind: {ret}"
        for p in range(self.w.pages):
            mapped = self.w.mm.vma_lookup(BASE + p * PAGE) is not None
            assert mapped == ((BASE >> PAGE_SHIFT) + p in self.w.fd.pt), f"page {p} after the bind"


class ReopenScript(Script):
    """Generated: the file is closed and opened again between the operations."""

    WHOLE = (*Script.WHOLE, "reopen")

    async def reopen(self) -> None:
        """close(), open()."""
        await self.w.fd.close()
        self.w.fd = await self.w.mirror.open_watched(self.w.device, self.w.mm, self.w.watch)


class _RangeOps(MmuIntervalNotifierOps):
    async def invalidate(self, sub: Any, range_: MmuNotifierRange, cur_seq: int) -> bool:
        await sub.mutex.lock()
        mmu_interval_set_seq(sub, cur_seq)
        # What the range covers: the rest of the address space is other ranges'.
        sub.erase(max(range_.start, BASE), min(range_.end, BASE + sub.NR * PAGE))
        sub.mutex.unlock()
        return True


class RangeMirror(Mirror):
    """Mirrors `NR` pages from BASE only (drm_gpusvm_range): the CPU's mapping may be larger."""

    NR = 2

    @classmethod
    async def open(cls, device: DmirrorDevice, mm: MmStruct) -> Dmirror:
        """The notifier covers the range. Raises OSError(errno)."""
        self = cls(device)
        ret = await mmu_interval_notifier_insert(self, mm, BASE, cls.NR * PAGE, _RangeOps())
        if ret:
            raise OSError(-ret, "dmirror open")
        device.mirrors.append(self)
        return self

    def _map_faulted(self, vpn: int, hmm_pfn: int) -> None:
        """As much of the CPU's mapping (hmm_pfn_to_map_order) as the range covers."""
        order = hmm_pfn >> HMM_PFN_ORDER_SHIFT & 0x1F
        first = vpn & -(1 << order)
        for v in self.clip(range(first, first + (1 << order))):
            super()._map_faulted(v, hmm_pfn & ~HMM_PFN_MASK | (hmm_pfn & HMM_PFN_MASK) + v - vpn)

    def clip(self, pages: range) -> range:
        """The pages of the range."""
        lo = BASE >> PAGE_SHIFT
        return range(max(pages.start, lo), min(pages.stop, lo + self.NR))


class FolioWorld(DmirrorWorld):
    """A process with a 2-MiB page, of which the device mirrors a part."""

    mirror = RangeMirror
    FRAMES = 2 * HPAGE_NR + 64

    def __init__(self, sched: Scheduler) -> None:
        super().__init__(sched, pages=0)
        now(self._huge())

    async def _huge(self) -> None:
        self.mm.thp = True
        await self.mm.munmap(BASE, 4 * PAGE)
        await self.mm.mmap(BASE, HPAGE, RW, 0x32)
        await self.mm.store(BASE, b"huge")
        assert self.mm.pte(BASE).order == 9

    async def read(self) -> None:
        """The device reads the first page."""
        cmd = await self.fd.read(BASE, 1)
        assert (cmd.ret, cmd.data[:4]) == (0, b"huge"), f"device read: {cmd.ret}"

    async def zap(self) -> None:
        """MADV_DONTNEED of the last page, which is outside the range."""
        await self.mm.madvise(BASE + HPAGE - PAGE, PAGE, MADV_DONTNEED)


class TwoDevices:
    """A process of one page and two devices, each of which wants the page in its own memory (xe_svm)."""

    STEPS = 12  # of a page table update

    def __init__(self, sched: Scheduler) -> None:
        self.w = DmirrorWorld(sched, pages=1)
        other = DmirrorDevice(self.w.phys, 1)
        self.fds = [self.w.fd, now(Mirror.open_watched(other, self.w.mm, Watch(self.w.phys, other)))]
        self.serial = Mutex("migrate")

    async def pull(self, i: int) -> None:
        """Fault of device i: evict from the other, migrate, map; again until the page is in own memory."""
        async with self.serial:
            while not await self.attempt(i):
                pass

    async def attempt(self, i: int) -> bool:
        """One pass: the page table update has many steps, and is thrown away if the page goes meanwhile."""
        fd, mm = self.fds[i], self.w.mm
        await mm.load(BASE, 1)
        await fd.migrate_to_dev(BASE, 1)
        rng = HmmRange(fd, BASE, BASE + PAGE, None, 0, dev_private_owner=fd.device)
        seq = rng.notifier_seq = await mmu_interval_read_begin(fd)
        async with mm.mmap_lock.read():
            ret = await hmm_range_fault(rng)
        if ret or not rng.pfns[0] or mm.pte(BASE).kind is not PteKind.DEVICE_PRIVATE:
            note(f"device {i}: the page has gone")
            return False
        for _ in range(self.STEPS):
            await point("bind", fd)
        entry = int(rng.pfns[0]) & HMM_PFN_MASK, TAG_READ
        ok = await fd.map_pages({BASE >> PAGE_SHIFT: entry}, lambda: not mmu_interval_read_retry(fd, seq))
        note(f"device {i}: {'has mapped the page' if ok else 'the page has gone'}")
        return ok

    def check(self) -> None:
        """The end: at most one of them has it."""
        for fd in self.fds:
            fd.watch.entries(fd, list(fd.pt), "is not so in the page table")
