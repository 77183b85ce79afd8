"""The driver of the device MMU: shares a process's address space with the device (shared virtual memory).

Lock order: mmap_lock, then (never nested in the other direction) the driver lock. The driver lock is taken
inside notifier callbacks, so nothing that needs the memory manager is done under it: it covers the sequence
check, the CMD ring and the record of what the device may hold. A fill is posted in the critical section that
found its read section still valid, and an invalidation in the one that ends the read section; the ring keeps
that order, so no fill of an old PTE follows the invalidation that replaces it.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw_model import device_interface as di
from sw_model import hmm_mirror as hm
from sw_model.device_interface import CMD, FAULT, CmdError, Code, Event, Op, Reg, Size
from sw_model.hmm import (
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
from sw_model.lockdep import LockMap
from sw_model.locking import Mutex, kfree, warn_on
from sw_model.mirror_api import MIRROR_APIS, MirrorApi
from sw_model.mmu_notifier import (
    MmuIntervalNotifier,
    MmuIntervalNotifierOps,
    MmuNotifierRange,
    MmuNotifyEvent,
    mmu_interval_notifier_insert,
    mmu_interval_notifier_remove,
    mmu_interval_read_begin,
    mmu_interval_read_retry,
    mmu_interval_set_seq,
    mmu_notifier_synchronize,
)
from sw_model.pagetable import PAGE_SHIFT, PAGE_SIZE
from sw_model.rings import COUNT_MASK, Consumer, Producer, RingSet
from sw_model.sched import Scheduler, WaitQueue, sleep
from sw_model.transport import Transport

HUGE_ORDER = 9
HUGE_NR = 1 << HUGE_ORDER
READ, WRITE = 1, 2
MAX_WINDOW = HUGE_NR
ULONG_MAX = (1 << 64) - 1

_LSB = {name: f.lsb for name, f in CMD.fields.items()}

_REQUEST = {0: np.uint64(HMM_PFN_REQ_FAULT), WRITE: np.uint64(HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE)}

#: work->lockdep_map of the fault service: what it takes must not be held where it is flushed
_FAULT_WORK = LockMap("fault work")

Row = tuple[int, int, int, int]
#: page number, access, fault identifier, sequence
Record = tuple[int, int, int, int]


def _cmd(op: Op, pasid: int = 0, tag: int | None = None, va: int = 0, npages: int = 0) -> Row:
    """One command; a tag asks for its completion."""
    w0 = op | pasid << _LSB["PASID"]
    if tag is not None:
        w0 |= di.Flag.COMPLETE << _LSB["FLAGS"] | tag << _LSB["TAG"]
    return w0, va, 0, npages


def _fill(pasid: int, va: int, pa: int, npages: int, size: Size, perm: int) -> Row:
    w0 = Op.FILL | pasid << _LSB["PASID"] | size << _LSB["SIZE"] | perm << _LSB["PERM"]
    return w0, va, pa, npages


def _order(pfn: int) -> int:
    return pfn >> HMM_PFN_ORDER_SHIFT & 0x1F


def _respond(pasid: int, fault: int, seq: int, code: Code) -> Row:
    w0 = Op.RESPOND | pasid << _LSB["PASID"] | code << _LSB["CODE"]
    return w0, 0, 0, seq | fault << _LSB["FAULT"]


class _Completion:
    """A command whose event record is awaited."""

    def __init__(self, start: int = 0, end: int = ULONG_MAX) -> None:
        self.start = start
        self.end = end
        self.done = False
        self.error = 0
        self.wq = WaitQueue("completion")

    async def wait(self) -> None:
        await self.wq.wait(lambda: self.done)


class Shadow:
    """Which pages of one address space the device may hold a translation of; over-approximate.

    Page numbers are 4-KiB virtual page numbers. Kept as one 512-bit mask per 2 MiB.
    """

    def __init__(self) -> None:
        self.chunks: dict[int, int] = {}
        self.huge: set[int] = set()

    def _pieces(self, start: int, end: int) -> list[tuple[int, int]]:
        first, last = start >> HUGE_ORDER, (end - 1) >> HUGE_ORDER
        if last - first < len(self.chunks):
            keys = [c for c in range(first, last + 1) if c in self.chunks]
        else:
            keys = [c for c in self.chunks if first <= c <= last]
        out = []
        for c in keys:
            lo = max(start - (c << HUGE_ORDER), 0)
            hi = min(end - (c << HUGE_ORDER), HUGE_NR)
            out.append((c, ((1 << (hi - lo)) - 1) << lo))
        return out

    def overlaps(self, start: int, end: int) -> bool:
        """True when the device may hold a page of [start, end)."""
        return any(self.chunks[c] & mask for c, mask in self._pieces(start, end))

    def runs(self, start: int, end: int, without: Shadow) -> list[tuple[int, int]]:
        """What the device may hold of [start, end) and `without` has not, as (first, last + 1), in order."""
        out: list[tuple[int, int]] = []
        for c, mask in sorted(self._pieces(start, end)):
            left = self.chunks[c] & mask & ~without.chunks.get(c, 0)
            while left:
                lo = (left & -left).bit_length() - 1
                n = (~(left >> lo) & ((left >> lo) + 1)).bit_length() - 1
                left &= ~(((1 << n) - 1) << lo)
                at = (c << HUGE_ORDER) + lo
                if out and out[-1][1] == at:
                    out[-1] = (out[-1][0], at + n)
                else:
                    out.append((at, at + n))
        return out

    def clear(self, start: int, end: int) -> bool:
        """Forget [start, end); True when something was there.

        The rest of a 2-MiB translation stays noted although the device drops it: accesses in flight may still
        use it, and an invalidation of the rest has to wait for them.
        """
        found = False
        for c, mask in self._pieces(start, end):
            had = self.chunks[c]
            if had & mask:
                found = True
            left = had & ~mask
            if left:
                self.chunks[c] = left
            else:
                del self.chunks[c]
                self.huge.discard(c)
        return found

    def grant_huge(self, chunk: int) -> bool:
        """Note a 2-MiB fill; True when 4-KiB ones are there, which must be invalidated first."""
        breaks = chunk in self.chunks and chunk not in self.huge
        self.chunks[chunk] = (1 << HUGE_NR) - 1
        self.huge.add(chunk)
        return breaks

    def grant(self, start: int, end: int) -> list[int]:
        """Note 4-KiB fills of [start, end); the 2-MiB chunks that must be invalidated first."""
        breaks = []
        for c in range(start >> HUGE_ORDER, ((end - 1) >> HUGE_ORDER) + 1):
            lo = max(start - (c << HUGE_ORDER), 0)
            hi = min(end - (c << HUGE_ORDER), HUGE_NR)
            if c in self.huge:
                breaks.append(c)
                self.huge.discard(c)
            self.chunks[c] = self.chunks.get(c, 0) | ((1 << (hi - lo)) - 1) << lo
        return breaks


class _Cluster:
    """Faults of one address space that are serviced together: a window of pages and the records in it."""

    def __init__(self, att: Attachment, start: int, end: int, records: list[Record]) -> None:
        self.att = att
        self.start = start  # window, in pages
        self.end = end
        self.records = records
        self.ret = 0
        self.first = start  # window of `pfns`, which may be wider
        self.pfns: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self.token: Any = None

    def requests(self, start: int, end: int) -> NDArray[np.uint64]:
        """hmm request flags of the pages [start, end)."""
        pfns = np.zeros(end - start, np.uint64)
        for vpn, access, _, _ in self.records:
            pfns[vpn - start] |= _REQUEST[access & WRITE]
        return pfns

    def leaf_window(self, pfns: NDArray[np.uint64], first: int) -> tuple[int, int]:
        """The window widened to the 2-MiB CPU mappings of the pages that were asked for."""
        start, end = self.start, self.end
        for vpn, _, _, _ in self.records:
            if _order(int(pfns[vpn - first])) >= HUGE_ORDER:
                start = min(start, vpn & -HUGE_NR)
                end = max(end, (vpn & -HUGE_NR) + HUGE_NR)
        return start, end

    def split(self) -> list[_Cluster]:
        """One cluster a record, without neighbours."""
        return [_Cluster(self.att, r[0], r[0] + 1, [r]) for r in self.records]


class Attachment:
    """One process attached to one PASID. It pins the mm_struct (mm_count), never its address space."""

    def __init__(self, driver: SvmDriver, pasid: int, mm: Any) -> None:
        self.driver = driver
        self.pasid = pasid
        self.mm = mm
        self.shadow = Shadow()
        #: the part of `shadow` that is in the device's own memory
        self.local = Shadow()
        #: pages (numbers) that the device has exclusively
        self.exclusive: set[int] = set()
        #: invalidations other than the device's own migrations; changed under the driver lock
        self.foreign_events = 0
        #: fault in with hmm_range_fault_unlocked_timeout(): a fault may drop mmap_lock, as userfaultfd does
        self.unlocked = False
        #: negative errno of the last refused fault, by page number
        self.refused: dict[int, int] = {}
        self.pending: list[_Completion] = []
        self.detaching = False
        self.released = False
        self.backend: Any = None


class _Interval(MmuIntervalNotifier):
    """The current API: one interval notifier over the whole address space."""

    def __init__(self, att: Attachment) -> None:
        super().__init__()
        self.att = att

    async def insert(self) -> int:
        return await mmu_interval_notifier_insert(self, self.att.mm, 0, ULONG_MAX & -PAGE_SIZE, _INTERVAL_OPS)

    async def remove(self) -> None:
        await mmu_interval_notifier_remove(self)

    async def collect(self, cl: _Cluster) -> None:
        """Fill in cl.pfns and cl.token; cl.ret is 0 or a negative errno, never -EBUSY."""
        mm = self.att.mm
        while True:
            # Inside the loop: a sequence from before it would be stale for ever.
            seq = cl.token = await mmu_interval_read_begin(self)
            start, end = cl.start, cl.end
            if self.att.unlocked:
                cl.ret = await self._fault_unlocked(cl, start, end)
                return
            async with mm.mmap_lock.read():
                cl.ret = await self._fault(cl, start, end, seq)
                if cl.ret == 0 and self.att.driver.huge:
                    wide = cl.leaf_window(cl.pfns, start)
                    if wide != (start, end):
                        cl.ret = await self._fault(cl, *wide, seq)
            if cl.ret != -errno.EBUSY:
                return
            self.att.driver.stats["retries"] += 1

    async def _fault(self, cl: _Cluster, start: int, end: int, seq: int) -> int:
        return await hmm_range_fault(self._range(cl, start, end, seq))

    async def _fault_unlocked(self, cl: _Cluster, start: int, end: int) -> int:
        rng = self._range(cl, start, end, 0)
        ret = await hmm_range_fault_unlocked_timeout(rng)
        cl.token = rng.notifier_seq
        return ret

    def _range(self, cl: _Cluster, start: int, end: int, seq: int) -> HmmRange:
        rng = HmmRange(
            self,
            start << PAGE_SHIFT,
            end << PAGE_SHIFT,
            cl.requests(start, end),
            pfn_flags_mask=HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
            dev_private_owner=self.att.driver.owner,
            notifier_seq=seq,
        )
        cl.first, cl.pfns = start, rng.pfns
        return rng

    async def retry(self, cl: _Cluster) -> bool:
        """Under the driver lock: True when the CPU page table changed since collect()."""
        return mmu_interval_read_retry(self, cl.token)


class _IntervalOps(MmuIntervalNotifierOps):
    async def invalidate(self, sub: MmuIntervalNotifier, range_: MmuNotifierRange, cur_seq: int) -> bool:
        assert isinstance(sub, _Interval)
        att = sub.att
        own = range_.owner is not None and range_.owner is att.driver.owner
        if own and range_.event == MmuNotifyEvent.EXCLUSIVE:
            return True  # else the read section around it would never hold
        moving = own and range_.event == MmuNotifyEvent.MIGRATE

        def mark() -> None:
            mmu_interval_set_seq(sub, cur_seq)
            att.foreign_events += not moving
            if range_.event == MmuNotifyEvent.RELEASE:
                att.released = True

        # Pages of its own memory that move, the driver takes from the device before it copies them.
        return await att.driver.invalidate(att, range_.start, range_.end, range_.blockable, mark, moving)


_INTERVAL_OPS = _IntervalOps()


class _Mirror(hm.HmmMirror):
    """The mirror API, in any of its versions: a mirror on the process's struct hmm."""

    def __init__(self, att: Attachment, api: MirrorApi) -> None:
        super().__init__(_MIRROR_OPS)
        self.att = att
        self.api = api

    async def insert(self) -> int:
        async with self.att.mm.mmap_lock.write():
            return await self.api.register(self, self.att.mm)

    async def remove(self) -> None:
        mm = self.att.mm
        await self.api.unregister(self)
        # The delayed free has run, so that references balance when detach returns.
        await mmu_notifier_synchronize(mm)

    async def collect(self, cl: _Cluster) -> None:
        """Fill in cl.pfns and cl.token, a registered range unless cl.ret is an error."""
        mm = self.att.mm
        while True:
            await self.api.wait_idle(self)
            cl.token = None
            async with mm.mmap_lock.read():
                first = cl.records[0][0] << PAGE_SHIFT
                last = cl.records[-1][0] << PAGE_SHIFT
                vma = mm.find_vma(first)
                if vma is None or vma.vm_start > first or vma.vm_end <= last:
                    cl.ret = -errno.EFAULT
                    return
                start = max(cl.start, vma.vm_start >> PAGE_SHIFT)
                end = min(cl.end, vma.vm_end >> PAGE_SHIFT)
                cl.ret = await self._fault(cl, vma, start, end)
                if cl.ret == 0 and self.att.driver.huge:
                    wide = cl.leaf_window(cl.pfns, start)
                    lo = max(wide[0], vma.vm_start >> PAGE_SHIFT)
                    hi = min(wide[1], vma.vm_end >> PAGE_SHIFT)
                    if (lo, hi) != (start, end):
                        await self.drop(cl)
                        cl.ret = await self._fault(cl, vma, lo, hi)
            if cl.ret not in (-errno.EBUSY, -errno.EAGAIN):
                return
            self.att.driver.stats["retries"] += 1

    async def _fault(self, cl: _Cluster, vma: Any, start: int, end: int) -> int:
        pfns = cl.requests(start, end)
        rng = self.api.range(vma, start << PAGE_SHIFT, end << PAGE_SHIFT, pfns=pfns)
        cl.first, cl.pfns = start, pfns
        ret = await self.api.fault(self, rng, block=True)
        cl.token = rng if ret == 0 else None
        return ret

    async def drop(self, cl: _Cluster) -> None:
        """End the range of a cluster that is not going to be used."""
        if cl.token is not None:
            await self.api.done(cl.token)
            cl.token = None

    async def retry(self, cl: _Cluster) -> bool:
        """Under the driver lock: ends the range; True when it is no longer valid."""
        if cl.token is None:
            return False
        valid = await self.api.done(cl.token)
        cl.token = None
        return not valid


class _MirrorOps(hm.HmmMirrorOps):
    async def sync_cpu_device_pagetables(self, mirror: hm.HmmMirror, update: hm.HmmUpdate) -> int:
        assert isinstance(mirror, _Mirror)
        att = mirror.att
        ok = await att.driver.invalidate(att, update.start, update.end, update.blockable, lambda: None)
        return 0 if ok else -errno.EAGAIN

    async def release(self, mirror: hm.HmmMirror) -> None:
        assert isinstance(mirror, _Mirror)
        att = mirror.att

        def mark() -> None:
            att.released = True

        await att.driver.invalidate(att, 0, ULONG_MAX, True, mark)


_MIRROR_OPS = _MirrorOps()


class SvmDriver:
    """Driver of one device. `mirror` picks the kernel API: "interval" (Linux 5.5 on) or "mirror" (before).

    "v1" and "v3" are the mirror API with the bugs of its first versions (docs/generations.md).

    `batch`: fault records taken at once. `fault_around`: pages (a power of two) around a fault that are
    mapped too where the CPU has them. `huge`: use 2-MiB fills. `eager_write`: map writable what the CPU may
    write, not only what the device asked to write. `workers`: fault service threads. `owner`: whose the
    device's own memory is (dev_pagemap.owner), which the device maps where it is; None without such memory.
    """

    def __init__(
        self,
        transport: Transport,
        phys: Any,
        sched: Scheduler,
        mirror: str = "interval",
        *,
        log2_cmd: int = 8,
        log2_fault: int = 8,
        log2_event: int | None = None,
        workers: int = 1,
        batch: int = 256,
        fault_around: int = 1,
        huge: bool = True,
        eager_write: bool = True,
        owner: object = None,
    ) -> None:
        if mirror != "interval" and mirror not in MIRROR_APIS:
            raise ValueError(f"mirror must be 'interval' or one of {', '.join(MIRROR_APIS)}, not {mirror!r}")
        if fault_around < 1 or fault_around & (fault_around - 1) or fault_around > MAX_WINDOW:
            raise ValueError("fault_around must be a power of two up to 512")
        self.transport = transport
        self.phys = phys
        self.sched = sched
        self.mirror = mirror
        self.log2 = {"CMD": log2_cmd, "FAULT": log2_fault, "EVENT": log2_event or log2_cmd}
        if self.log2["EVENT"] < log2_cmd:
            raise ValueError("the EVENT ring must be as large as the CMD ring")
        self.workers = workers
        self.batch = batch
        self.fault_around = fault_around
        self.huge = huge
        self.eager_write = eager_write
        self.owner = owner
        #: called with (attachment, fault records) before they are serviced
        self.on_faults: Callable[[Attachment, list[Record]], None] | None = None
        self.lock = Mutex("driver")
        self.attach_lock = Mutex("attach")
        self.fault_lock = Mutex("fault ring")
        self.attachments: dict[int, Attachment] = {}
        self._rings = RingSet(transport, phys)
        self.max_pasids = 0
        self.va_pages = 0
        self.removed = False
        self.command_errors: list[dict[str, int]] = []
        #: LINK_ERROR records: requests of the device that the host did not complete
        self.link_errors: list[dict[str, int]] = []
        self.latency: dict[str, deque[tuple[int, int]]] = {
            "invalidate": deque(maxlen=1 << 16),
            "fault_service": deque(maxlen=1 << 16),
        }
        self.stats: dict[str, int] = dict.fromkeys(
            (
                "faults", "batches", "duplicates", "coalesced", "fills", "fill_pages", "huge_fills",
                "responses_success", "responses_invalid", "responses_failure", "stale_faults", "retries",
                "invalidations", "invalidations_skipped", "invalidations_nonblock_refused",
                "ring_full_waits", "events", "breaks",
            ),
            0,
        )  # fmt: skip
        self._tag = 0
        self._waiters: dict[int, _Completion] = {}
        self._fault_gen = 0
        self._fault_wq = WaitQueue("fault irq")
        self._harvested = 0
        self._serving: dict[int, int] = {}
        self._batch_id = 0
        self._flush_wq = WaitQueue("flush faults")

    # ---- probe and remove --------------------------------------------------------------------------------

    async def probe(self) -> None:
        """pci_driver.probe(): check the device, set up rings and interrupts, start the threads.

        Raises OSError(ENODEV) for a foreign device and OSError(ENOMEM) without memory for rings.
        """
        t = self.transport
        if await t.read_reg(Reg.ID) != di.MAGIC:
            raise OSError(errno.ENODEV, "not a device MMU")
        if (await t.read_reg(Reg.VERSION)) >> 16 != di.VERSION >> 16:
            raise OSError(errno.ENODEV, "device interface version is not supported")
        cap1 = await t.read_reg(Reg.CAP1)
        self.va_pages = 1 << (((cap1 >> 8) & 0xFF) - PAGE_SHIFT)
        self.max_pasids = cap1 >> 24 & 0xFF
        while not await t.read_reg(Reg.STATUS) & 1:
            await sleep(100)
        self.cmd = await self._rings.add(Producer, "CMD", self.log2["CMD"])
        self.fault = await self._rings.add(Consumer, "FAULT", self.log2["FAULT"])
        self.event = await self._rings.add(Consumer, "EVENT", self.log2["EVENT"])
        await self._rings.enable()
        self._spawn(self._event_thread(), "svm-event")
        self._spawn(self._error_thread(), "svm-error")
        if self.workers == 1:
            self._spawn(self._fault_thread(), "svm-fault")
        else:
            self._spawn(self._fault_irq_thread(), "svm-fault-irq")
            for i in range(self.workers):
                self._spawn(self._worker_thread(), f"svm-fault{i}")
        vectors = 1 << di.IRQ_FAULT | 1 << di.IRQ_EVENT | 1 << di.IRQ_ERROR
        mask = await t.read_reg(Reg.IRQ_ENABLE)
        await t.write_reg(Reg.IRQ_ENABLE, mask | vectors)
        await t.write_reg(Reg.CTRL, 1)

    async def remove(self) -> None:
        """pci_driver.remove(): detach every process, stop the device, free the rings."""
        for pasid in list(self.attachments):
            await self.detach(pasid)
        t = self.transport
        await t.write_reg(Reg.CTRL, 0)
        vectors = 1 << di.IRQ_FAULT | 1 << di.IRQ_EVENT | 1 << di.IRQ_ERROR
        mask = await t.read_reg(Reg.IRQ_ENABLE)
        await t.write_reg(Reg.IRQ_ENABLE, mask & ~vectors)
        self.removed = True
        await self._rings.remove()

    @property
    def rings(self) -> dict[str, tuple[int, int]]:
        """Bus address and log2 of the size, by name."""
        return self._rings.layout

    def _spawn(self, coro: Any, name: str) -> None:
        self.sched.spawn(coro, name, daemon=True)

    # ---- attach and detach -------------------------------------------------------------------------------

    async def attach(self, mm: Any, pasid: int | None = None) -> int:
        """iommu_sva_bind_device(): give the device access to the process; the PASID.

        The caller holds an mm_users reference. Raises OSError: EINVAL (PASID out of range, or the process is
        exiting), EBUSY (PASID in use), ENOSPC (no PASID free), EIO (the device refused).
        """
        async with self.attach_lock:
            if len(self.attachments) >= self.max_pasids:
                raise OSError(errno.ENOSPC, "the device's PASID table is full")
            if pasid is None:
                pasid = next(p for p in range(1, self.max_pasids + 2) if p not in self.attachments)
            if not 0 <= pasid < 1 << di.PASID_BITS:
                raise OSError(errno.EINVAL, f"PASID {pasid} out of range")
            if pasid in self.attachments:
                raise OSError(errno.EBUSY, f"PASID {pasid} is attached")
            if not await mm.mmget_not_zero():
                raise OSError(errno.EINVAL, "the process is exiting")
            try:
                att = Attachment(self, pasid, mm)
                await mm.mmgrab()
                # The notifier is live from here on: the attachment is complete before it.
                api = MIRROR_APIS.get(self.mirror)
                att.backend = _Interval(att) if api is None else _Mirror(att, api)
                ret = await att.backend.insert()
                if ret:
                    await mm.mmdrop()
                    raise OSError(-ret, "no notifier")
                self.attachments[pasid] = att
                error = await self._command(Op.ATTACH, pasid)
                if error:
                    del self.attachments[pasid]
                    await att.backend.remove()
                    await mm.mmdrop()
                    kfree(att.backend)
                    kfree(att)
                    code = errno.ENOSPC if error == CmdError.TABLE_FULL else errno.EIO
                    raise OSError(code, f"attach refused: {error}")
            finally:
                await mm.mmput()
        return pasid

    async def detach(self, pasid: int) -> None:
        """iommu_sva_unbind_device(): the device forgets the process; its accesses end with errors.

        Sleeps. Order: stop servicing, DETACH and its completion, flush the fault worker, notifier, mm pin.
        Raises OSError(EINVAL) for a PASID that is not attached.
        """
        async with self.attach_lock:
            att = self.attachments.get(pasid)
            if att is None:
                raise OSError(errno.EINVAL, f"PASID {pasid} is not attached")
            async with self.lock:
                # From here on nobody posts a fill for it, and a notifier callback that finds nothing granted
                # still has to wait for the drain.
                att.detaching = True
                done = await self._post_tagged(Op.DETACH, att.pasid, 0, 0)
                att.shadow, att.local = Shadow(), Shadow()
                att.exclusive.clear()
                att.pending.append(done)
            await done.wait()
            async with self.lock:
                att.pending.remove(done)
            # Records written before are stale; they must not meet the next owner of the PASID.
            await self.flush_faults()
            await att.backend.remove()
            del self.attachments[pasid]
            await att.mm.mmdrop()
            kfree(att.backend)
            kfree(att)

    # ---- commands ----------------------------------------------------------------------------------------

    async def _post(self, rows: list[Row]) -> None:
        """Under the driver lock: store commands, ring the doorbell once (again when the ring fills)."""
        self.lock.assert_held()
        data = np.array(rows, dtype=np.uint64)
        t, ring = self.transport, self.cmd
        while True:
            if ring.free < len(data):
                ring.head = await t.read_reg(Reg.CMD_HEAD)
            n = min(ring.free, len(data))
            if n:
                ring.post(data[:n])
                await t.write_reg(Reg.CMD_TAIL, ring.tail)
                data = data[n:]
            if not len(data):
                return
            # The device takes commands whatever the state of faults, so this ends.
            self.stats["ring_full_waits"] += 1
            await sleep(1000)

    async def _post_tagged(self, op: Op, pasid: int, va: int, npages: int) -> _Completion:
        """Under the driver lock: post one command whose completion is awaited later."""
        done = _Completion(va >> PAGE_SHIFT, (va >> PAGE_SHIFT) + npages if npages else ULONG_MAX)
        while self._tag in self._waiters:
            self._tag = (self._tag + 1) & 0xFFFF
        tag = self._tag
        self._tag = (tag + 1) & 0xFFFF
        self._waiters[tag] = done
        await self._post([_cmd(op, pasid, tag, va, npages)])
        return done

    async def _command(self, op: Op, pasid: int) -> int:
        """Post one command and wait; 0 or the CmdError code."""
        async with self.lock:
            done = await self._post_tagged(op, pasid, 0, 0)
        await done.wait()
        return done.error

    async def _event_thread(self) -> None:
        """Interrupt thread: completions wake whoever waits for their tag."""
        t = self.transport
        while True:
            await t.wait_irq(di.IRQ_EVENT)
            while not self.removed:
                rows = self.event.harvest()
                if not len(rows):
                    break
                await t.write_reg(Reg.EVENT_HEAD, self.event.head)
                self.stats["events"] += len(rows)
                for row in rows:
                    rec = di.EVENT.unpack(row)
                    if rec["type"] == Event.LINK_ERROR:
                        self.link_errors.append(rec)
                        continue
                    if rec["type"] == Event.COMMAND_ERROR:
                        self.command_errors.append(rec)
                    done = self._waiters.get(rec["tag"])
                    if rec["type"] == Event.COMMAND_ERROR and rec["op"] in (Op.FILL, Op.RESPOND):
                        continue  # these carry no tag
                    if done is None:
                        continue
                    del self._waiters[rec["tag"]]
                    done.error = rec["status"] if rec["type"] == Event.COMMAND_ERROR else 0
                    done.done = True
                    done.wq.wake_all()

    async def _error_thread(self) -> None:
        """A halted ring cannot be survived: the device may still use translations that are being revoked."""
        await self.transport.wait_irq(di.IRQ_ERROR)
        state = [f"{n}={await self.transport.read_reg(Reg[f'{n}_CTRL'])}" for n in ("CMD", "FAULT", "EVENT")]
        raise OSError(errno.EIO, "bus error on a ring: " + " ".join(state))

    # ---- invalidation ------------------------------------------------------------------------------------

    async def invalidate(
        self, att: Attachment, start: int, end: int, blockable: bool, mark: Any, keep_local: bool = False
    ) -> bool:
        """A notifier's callback: on return the device does not use [start, end) of the process any more.

        `mark()` ends the read sections, under the driver lock. With `keep_local` pages in the device's own
        memory stay. False, only when not blockable, if the lock is taken or the device has to be waited for;
        then nothing was done.
        """
        if blockable:
            await self.lock.lock()
        elif not await self.lock.trylock():
            self.stats["invalidations_nonblock_refused"] += 1
            return False
        waits: list[_Completion] = []
        mine: _Completion | None = None
        t0 = self.transport.now()
        try:
            first, last = start >> PAGE_SHIFT, min((end + PAGE_SIZE - 1) >> PAGE_SHIFT, self.va_pages)
            # An earlier invalidation that has not completed holds this one back too: accesses of the device
            # may still use what it revoked.
            waits = [c for c in att.pending if c.start < last and first < c.end]
            granted = first < last and att.shadow.overlaps(first, last)
            runs = [(first, last)]
            if granted and keep_local:
                runs = att.shadow.runs(first, last, att.local)
                granted = bool(runs)
            if not blockable and (granted or waits):
                self.stats["invalidations_nonblock_refused"] += 1
                return False
            mark()
            if granted:
                if runs == [(0, self.va_pages)]:
                    att.shadow, att.local = Shadow(), Shadow()
                    mine = await self._post_tagged(Op.INVALIDATE_PASID, att.pasid, 0, 0)
                else:
                    mine = await self._revoke(att, runs)
                att.pending.append(mine)
                self.stats["invalidations"] += 1
            else:
                self.stats["invalidations_skipped"] += 1
            if att.exclusive:
                att.exclusive = {v for v in att.exclusive if not first <= v < last}
        finally:
            self.lock.unlock()
        for c in waits:
            await c.wait()
        if mine is not None:
            await mine.wait()
            att.pending.remove(mine)
            warn_on(mine.error, f"invalidation refused by the device: {mine.error}")
            self.latency["invalidate"].append((t0, self.transport.now()))
        return True

    async def _revoke(self, att: Attachment, runs: list[tuple[int, int]]) -> _Completion:
        """Under the driver lock: invalidate page ranges; the completion of the last is that of all."""
        for a, b in runs:
            att.shadow.clear(a, b)
            att.local.clear(a, b)
        rows = [_cmd(Op.INVALIDATE, att.pasid, None, a << PAGE_SHIFT, b - a) for a, b in runs[:-1]]
        if rows:
            await self._post(rows)
        a, b = runs[-1]
        done = await self._post_tagged(Op.INVALIDATE, att.pasid, a << PAGE_SHIFT, b - a)
        done.start = runs[0][0]
        return done

    # ---- pages that the driver maps without a fault ------------------------------------------------------

    async def map_pages(
        self, att: Attachment, first: int, pfns: NDArray[np.uint64], valid: Callable[[], bool]
    ) -> bool:
        """Give the device the pages from number `first` on, as hmm pfns; those without VALID are left out.

        `valid()` is asked under the driver lock. False when it says no, or the process is detached; then
        nothing was mapped.
        """
        async with self.lock:
            if att.detaching or att.released or not valid():
                return False
            cl = _Cluster(att, first, first + len(pfns), [])
            cl.pfns = pfns
            rows: list[Row] = []
            self._fills(cl, rows)
            if rows:
                await self._post(rows)
            return True

    # ---- faults ------------------------------------------------------------------------------------------

    async def _fault_thread(self) -> None:
        while True:
            await self.transport.wait_irq(di.IRQ_FAULT)
            while not self.removed and await self._fault_batch():
                pass

    async def _fault_irq_thread(self) -> None:
        while True:
            await self.transport.wait_irq(di.IRQ_FAULT)
            self._fault_gen += 1
            self._fault_wq.wake_all()

    async def _worker_thread(self) -> None:
        while True:
            seen = self._fault_gen
            while not self.removed and await self._fault_batch():
                pass
            await self._next_irq(seen)

    async def _next_irq(self, seen: int) -> None:
        await self._fault_wq.wait(lambda: self._fault_gen != seen)

    async def flush_faults(self) -> None:
        """flush_work(): sleeps until every fault record written so far has been serviced."""
        _FAULT_WORK.touch()
        target = await self.transport.read_reg(Reg.FAULT_TAIL)
        half = COUNT_MASK >> 1
        await self._flush_wq.wait(lambda: (self._harvested - target) & COUNT_MASK <= half)
        before = set(self._serving)
        await self._flush_wq.wait(lambda: not before & self._serving.keys())

    async def _fault_batch(self) -> bool:
        """Take and service one batch; False when there was none."""
        async with self.fault_lock:
            rows = self.fault.harvest(self.batch)
            if not len(rows):
                return False
            self._batch_id += 1
            me = self._batch_id
            self._serving[me] = len(rows)
            self._harvested = self.fault.head
            await self.transport.write_reg(Reg.FAULT_HEAD, self.fault.head)
        t0 = self.transport.now()
        try:
            with _FAULT_WORK:
                await self._service(rows)
        finally:
            del self._serving[me]
            self._flush_wq.wake_all()
        self.latency["fault_service"].append((t0, self.transport.now()))
        self.stats["batches"] += 1
        self.stats["faults"] += len(rows)
        return True

    async def _service(self, rows: NDArray[np.uint64]) -> None:
        """Service fault records: sorted, coalesced by page, one doorbell for all that succeed at once."""
        pasids = FAULT.get(rows, "pasid")
        vpns = FAULT.get(rows, "va") >> np.uint64(PAGE_SHIFT)
        order = np.lexsort((vpns, pasids))
        fields = [
            FAULT.get(rows, n)[order].tolist() if n != "va" else vpns[order].tolist()
            for n in ("pasid", "va", "access", "fault", "seq")
        ]
        groups: dict[int, list[Record]] = {}
        for pasid, vpn, access, fault, seq in zip(*fields, strict=True):
            groups.setdefault(pasid, []).append((vpn, access, fault, seq))
        held: list[Any] = []
        clusters: list[_Cluster] = []
        refused: list[_Cluster] = []
        try:
            for pasid, records in groups.items():
                att = self.attachments.get(pasid)
                if att is None or att.detaching:
                    # The device forgets the faults of a detached PASID; an answer would match nothing.
                    self.stats["stale_faults"] += len(records)
                    continue
                if self.on_faults is not None:
                    self.on_faults(att, records)
                mine = self._clusters(att, records)
                if att.released or not await att.mm.mmget_not_zero():
                    refused += mine
                    continue
                held.append(att.mm)
                clusters += mine
            for cl in refused:
                cl.ret = -errno.ESRCH
            if refused:
                await self._commit(refused)
            for cl in clusters:
                await cl.att.backend.collect(cl)
            # Under a storm of invalidations a large batch never gets through: go on one by one.
            for cl in await self._commit(clusters):
                rest = [cl]
                while rest:
                    for c in rest:
                        await c.att.backend.collect(c)
                    rest = await self._commit(rest)
        finally:
            for mm in held:
                # May be the last user: exit_mmap() runs here, so no lock is held.
                await mm.mmput()

    def _clusters(self, att: Attachment, records: list[Record]) -> list[_Cluster]:
        """Group sorted records into windows of at most 512 pages."""
        out: list[_Cluster] = []
        around = self.fault_around
        last = None
        for rec in records:
            vpn = rec[0]
            if vpn == last:
                self.stats["duplicates"] += 1
            last = vpn
            start = vpn & -around
            cl = out[-1] if out else None
            if cl is not None and start <= cl.end and start + around - cl.start <= MAX_WINDOW:
                cl.end = max(cl.end, start + around)
                cl.records.append(rec)
                self.stats["coalesced"] += 1
            else:
                out.append(_Cluster(att, start, start + around, [rec]))
        return out

    async def _commit(self, clusters: list[_Cluster]) -> list[_Cluster]:
        """Check and post: fills and answers of every cluster whose read section is still valid.

        Returns what has to be collected again.
        """
        again: list[_Cluster] = []
        rows: list[Row] = []
        async with self.lock:
            for cl in clusters:
                dead = cl.ret == -errno.ESRCH
                stale = not dead and await cl.att.backend.retry(cl)
                if cl.att.detaching:
                    self.stats["stale_faults"] += len(cl.records)
                elif stale:
                    self.stats["retries"] += 1
                    again.append(cl)
                elif cl.ret and not dead and len(cl.records) > 1:
                    # One bad page fails the whole window: each record gets an answer of its own.
                    again += cl.split()
                else:
                    self._answer(cl, rows)
            if rows:
                await self._post(rows)
        return again

    def _answer(self, cl: _Cluster, rows: list[Row]) -> None:
        if cl.ret == 0:
            self._fills(cl, rows)
            code = Code.SUCCESS
        elif cl.ret in (-errno.EFAULT, -errno.EPERM):
            code = Code.INVALID
        else:
            code = Code.FAILURE
        self.stats[f"responses_{code.name.lower()}"] += len(cl.records)
        if cl.ret:
            cl.att.refused.update((r[0], cl.ret) for r in cl.records)
        pasid = cl.att.pasid
        rows += [_respond(pasid, fault, seq, code) for _, _, fault, seq in cl.records]

    def _fills(self, cl: _Cluster, rows: list[Row]) -> None:
        """FILL commands for what the window holds: 2-MiB leaves, then runs of contiguous pages."""
        att, first, base = cl.att, cl.first, self.transport.bus_base
        pfns: list[int] = cl.pfns.tolist()
        frames, local = self._frames(cl.pfns)
        wanted = None
        if cl.records and not self.eager_write:
            wanted = {r[0] - first for r in cl.records if r[1] & WRITE}
        leaves = set()
        if self.huge:
            leaves = {(first + i) >> HUGE_ORDER for i, p in enumerate(pfns) if _order(p) >= HUGE_ORDER}
        filled = set()
        for chunk in sorted(leaves):
            lo = (chunk << HUGE_ORDER) - first
            leaf = pfns[lo : lo + HUGE_NR] if lo >= 0 else []
            if len(leaf) < HUGE_NR or not all(p & HMM_PFN_VALID for p in leaf):
                continue  # the window covers the leaf in part: never map beyond it
            pfn = leaf[0] & HMM_PFN_MASK
            va, pa = chunk << (HUGE_ORDER + PAGE_SHIFT), base + (frames[lo] << PAGE_SHIFT)
            if pa & (PAGE_SIZE * HUGE_NR - 1):
                continue
            w = bool(leaf[0] & HMM_PFN_WRITE) and (
                wanted is None or any(lo <= i < lo + HUGE_NR for i in wanted)
            )
            if w:
                self.phys.set_page_dirty(pfn)
            if att.shadow.grant_huge(chunk):
                self._break(att, va, rows)
            if local[lo]:
                att.local.grant_huge(chunk)
            rows.append(_fill(att.pasid, va, pa, 1, Size.P2M, READ | (WRITE if w else 0)))
            filled.add(chunk)
            self.stats["fills"] += 1
            self.stats["huge_fills"] += 1
            self.stats["fill_pages"] += HUGE_NR
        # Pages outside the window that was asked for are there for the sake of a 2-MiB leaf only.
        i, stop = max(cl.start - first, 0), min(cl.end - first, len(pfns))
        while i < stop:
            p = pfns[i]
            if not p & HMM_PFN_VALID or (filled and (first + i) >> HUGE_ORDER in filled):
                i += 1
                continue
            a = i
            pfn, frame = p & HMM_PFN_MASK, frames[i]
            w = bool(p & HMM_PFN_WRITE) and (wanted is None or i in wanted)
            i += 1
            while i < stop:
                p = pfns[i]
                if not p & HMM_PFN_VALID or p & HMM_PFN_MASK != pfn + i - a or frames[i] != frame + i - a:
                    break
                if local[i] != local[a]:
                    break
                if (bool(p & HMM_PFN_WRITE) and (wanted is None or i in wanted)) != w:
                    break
                if filled and (first + i) >> HUGE_ORDER in filled:
                    break
                i += 1
            if w:
                for q in range(pfn, pfn + i - a):
                    self.phys.set_page_dirty(q)
            for chunk in att.shadow.grant(first + a, first + i):
                self._break(att, chunk << (HUGE_ORDER + PAGE_SHIFT), rows)
            if local[a]:
                att.local.grant(first + a, first + i)
            va, pa = (first + a) << PAGE_SHIFT, base + (frame << PAGE_SHIFT)
            rows.append(_fill(att.pasid, va, pa, i - a, Size.P4K, READ | (WRITE if w else 0)))
            self.stats["fills"] += 1
            self.stats["fill_pages"] += i - a

    def _frames(self, pfns: NDArray[np.uint64]) -> tuple[list[int], list[bool]]:
        """The frames to access for hmm pfns, and which are in the device's own memory.

        A device-private page has its data behind its pfn, where only its device reaches them.
        """
        frames = (pfns & np.uint64(HMM_PFN_MASK)).astype(np.int64)
        local = np.zeros(len(pfns), bool)
        for m in self.phys.pgmaps:
            mine = (frames >= m.first_pfn) & (frames < m.end_pfn)
            if mine.any():
                frames[mine] += m.backing(m.first_pfn) - m.first_pfn
                if m.owner is self.owner:
                    local |= mine
        return frames.tolist(), local.tolist()

    def _break(self, att: Attachment, va: int, rows: list[Row]) -> None:
        """Break before make: drop the other page size first. Ring order is enough, nobody waits."""
        rows.append(_cmd(Op.INVALIDATE, att.pasid, None, va, HUGE_NR))
        self.stats["breaks"] += 1
