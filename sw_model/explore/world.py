"""Small worlds over the real notifier, HMM and mirror code: one page, one device, few points.

The process has one page; its page table entry is a `Page`. The device (`Device`) has a command ring, a cache
of one translation and accesses in flight; each of its loops is a thread of its own. `Driver` is the protocol
of sw_model.driver over interval notifiers, `MirrorDriver` over the mirror API, both cut down to that page.
Every change of the page is checked against the device: no cached translation and no access of the old state
may be left.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from sw_model import hmm_mirror as hm
from sw_model import mmu_notifier as mn
from sw_model.explore.notes import note
from sw_model.hmm import HMM_PFN_MASK, HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE, HMM_PFN_WRITE
from sw_model.locking import Kref, Mutex, RwSem, SpinLock, Srcu, kfree, warn_on
from sw_model.mirror_api import MIRROR, MirrorApi
from sw_model.mm_refs import MmRefs
from sw_model.mmu_notifier import MmuNotifierRange, MmuNotifyEvent
from sw_model.pagetable import PteKind
from sw_model.sched import POINT, Scheduler, WaitQueue, point

PAGE = 4096
BASE = 0x10_0000
FILL, INVALIDATE = "fill", "invalidate"
REQUEST = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE


class Stale(AssertionError):
    """The device used, or could use, a translation that it had to have forgotten."""


class Page:
    """The page table entry of the one page: frame `pfn` (0: none), and whether it is being migrated."""

    def __init__(self, pfn: int) -> None:
        self.pfn = pfn
        self.writable = True
        self.migrating = False


class ToyPte(NamedTuple):
    """What the page walk of sw_model.hmm reads."""

    kind: PteKind
    pfn: int
    writable: bool
    order: int = 0
    base: int = BASE
    special: bool = False


class ToyVma(NamedTuple):
    """The only VMA."""

    vm_start: int
    vm_end: int
    vm_flags: int
    vm_mm: Any


class ToyMm(MmRefs):
    """An mm_struct of one page; poisoned when it is freed."""

    def __init__(self) -> None:
        super().__init__()
        self.mmap_lock = RwSem("mmap_lock")
        self.page_table_lock = SpinLock("page_table_lock")
        self.notifier_subscriptions: Any = None
        self.hmm: Any = None
        self.page = Page(1)
        self.next_pfn = 2
        self.migration_wq = WaitQueue("migration")
        self.devices: tuple[Device, ...] = ()

    def find_vma(self, addr: int) -> ToyVma | None:
        """find_vma()."""
        return ToyVma(BASE, BASE + PAGE, 3, self) if addr < BASE + PAGE else None

    def pte(self, addr: int) -> ToyPte:
        """The entry, decoded."""
        p = self.page
        if p.migrating:
            return ToyPte(PteKind.MIGRATION, 0, False)
        return ToyPte(PteKind.PRESENT if p.pfn else PteKind.NONE, p.pfn, p.writable)

    def set_page(self, pfn: int, writable: bool = True) -> None:
        """Change the entry. Raises Stale when a device still has what goes away."""
        page = self.page
        old = page.pfn
        if old:
            for d in self.devices:
                d.check_gone(old, pfn, writable)
        page.pfn, page.writable = pfn, writable
        note(f"page table: frame {old} -> {pfn}{'' if writable else ' read-only'}")

    async def handle_mm_fault(self, vma: Any, addr: int, write: bool, allow_retry: bool = False) -> int:
        """handle_mm_fault(): a new frame where there is none, or a private one to write to (COW). No I/O."""
        await self.page_table_lock.lock()
        page = self.page
        if not page.migrating and not page.pfn:
            pfn = self.next_pfn
            self.next_pfn = pfn + 1
            self.set_page(pfn)
            self.page_table_lock.unlock()
        elif write and not page.writable:
            self.page_table_lock.unlock()
            await self.change(self.cow)
        else:
            self.page_table_lock.unlock()
        return 0

    def cow(self) -> None:
        """A writable copy in a new frame."""
        if self.page.pfn and not self.page.writable:
            pfn = self.next_pfn
            self.next_pfn = pfn + 1
            self.set_page(pfn)

    async def migration_entry_wait(self, addr: int) -> None:
        """migration_entry_wait()."""
        page = self.page
        await self.migration_wq.wait(lambda: not page.migrating)

    async def change(
        self, how: Callable[[], None], event: MmuNotifyEvent = MmuNotifyEvent.CLEAR, owner: object = None
    ) -> None:
        """Invalidate the page and change its entry meanwhile."""
        r = MmuNotifierRange(self, BASE, BASE + PAGE, event, owner=owner)
        await mn.mmu_notifier_invalidate_range_start(r)
        await self.page_table_lock.lock()
        how()
        self.page_table_lock.unlock()
        await mn.mmu_notifier_invalidate_range_end(r)

    async def reclaim(self) -> None:
        """try_to_unmap() of reclaim, or MADV_DONTNEED: no mmap_lock for writing."""
        await self.change(lambda: self.set_page(0))

    async def reap(self) -> bool:
        """zap_vma_for_reaping() of the OOM reaper: must not block; True when it could."""
        r = MmuNotifierRange(self, BASE, BASE + PAGE, MmuNotifyEvent.CLEAR, blockable=False)
        if await mn.mmu_notifier_invalidate_range_start(r):
            return False
        await self.page_table_lock.lock()
        self.set_page(0)
        self.page_table_lock.unlock()
        await mn.mmu_notifier_invalidate_range_end(r)
        return True

    async def user_reclaim(self) -> None:
        """reclaim() by somebody who pins the structure beforehand and gives up on a dead process."""
        if await self.mmget_not_zero():
            await self.reclaim()
            await self.mmput()
        await self.mmdrop()

    async def fork(self) -> None:
        """fork(): the page becomes shared and read-only."""
        await self.mmap_lock.down_write()
        await self.change(
            lambda: self.set_page(self.page.pfn, False) if self.page.pfn else None,
            MmuNotifyEvent.PROTECTION_PAGE,
        )
        self.mmap_lock.up_write()

    async def migrate(self) -> None:
        """migrate_pages(): a migration entry holds faults back while the data moves."""

        def unmap() -> None:
            if self.page.pfn:
                self.set_page(0)
                self.page.migrating = True

        await self.change(unmap, MmuNotifyEvent.CLEAR)
        await self.page_table_lock.lock()
        if self.page.migrating:
            self.page.migrating = False
            pfn = self.next_pfn
            self.next_pfn = pfn + 1
            self.set_page(pfn)
            self.migration_wq.wake_all()
        self.page_table_lock.unlock()

    async def exit_mmap(self) -> None:
        """exit_mmap()."""
        await mn.mmu_notifier_release(self)
        await self.page_table_lock.lock()
        self.set_page(0)
        self.page_table_lock.unlock()

    def free_mm(self) -> None:
        """__mmdrop()."""
        warn_on(self.hmm is not None, "mm freed with an hmm")
        mn.mmu_notifier_subscriptions_destroy(self)
        kfree(self)


class Completion:
    """A command whose end is awaited."""

    def __init__(self) -> None:
        self.done = False
        self.wq = WaitQueue("completion")

    async def wait(self) -> None:
        """Until the device has completed it."""
        await self.wq.wait(self._done)

    def _done(self) -> bool:
        return self.done


Command = tuple[str, int, bool, Completion | None]


class Device:
    """A command ring taken in order, a cache of one translation, accesses in flight.

    An invalidation drops the translation and completes when the accesses that used it have ended.
    """

    def __init__(self, mm: ToyMm) -> None:
        self.name = "device"
        self.mm = mm
        self.tlb = 0
        self.write = False
        self.inflight = 0
        self.attachment: Driver | None = None
        self.ring: list[Command] = []
        self.wq = WaitQueue("ring")
        self.drain_wq = WaitQueue("drain")

    def post(self, cmd: str, pfn: int, write: bool, done: Completion | None) -> None:
        """Store a command and ring the doorbell."""
        self.ring.append((cmd, pfn, write, done))
        note(f"post {cmd}" + (f" {pfn}" if pfn else ""))
        self.wq.wake_all()

    def check_gone(self, old: int, new: int, writable: bool) -> None:
        """The entry of frame `old` changes. Raises Stale."""
        if self.tlb == old and (new != old or (self.write and not writable)):
            raise Stale(f"frame {old} leaves the page table with a translation in the device")
        if self.inflight == old and new != old:
            raise Stale(f"frame {old} leaves the page table with an access in flight")

    def _work(self) -> bool:
        return bool(self.ring)

    def _idle(self) -> bool:
        return not self.inflight

    async def commands(self) -> None:
        """The command processor."""
        while True:
            await self.wq.wait(self._work)
            cmd, pfn, write, done = self.ring.pop(0)
            if cmd == FILL:
                note(f"device: fill {pfn}{'' if write else ' read-only'}")
                page = self.mm.page
                if page.pfn != pfn or (write and not page.writable):
                    raise Stale(f"fill of frame {pfn}, the CPU has {page.pfn}")
                self.tlb, self.write = pfn, write
                continue
            self.tlb = 0
            note("device: invalidate takes effect")
            if self.inflight:
                await self.drain_wq.wait(self._idle)
            note("device: invalidate complete")
            assert done is not None
            done.done = True
            done.wq.wake_all()

    async def fault(self) -> None:
        """The fault worker takes a record and services it, unless it is stale."""
        await point("fault record", self)
        drv = self.attachment
        if drv is not None and not drv.detaching:
            await drv.fault()

    async def access(self) -> None:
        """One access: looked up, in flight, answered. A miss ends it (the fault is another thread's)."""
        await point("lookup", self)
        pfn = self.tlb
        note(f"device: access {'hits ' + str(pfn) if pfn else 'misses'}")
        if not pfn:
            return
        self.inflight = pfn
        await point("respond", self)
        note(f"device: access answered through {pfn}")
        if self.mm.page.pfn != pfn:
            raise Stale(f"access through frame {pfn}, the CPU has {self.mm.page.pfn}")
        self.inflight = 0
        self.drain_wq.wake_all()

    def check(self) -> None:
        """At the end. Raises Stale."""
        if self.tlb and (self.tlb != self.mm.page.pfn or (self.write and not self.mm.page.writable)):
            raise Stale(f"the device maps frame {self.tlb}, the CPU {self.mm.page.pfn}")


class Driver(mn.MmuIntervalNotifier):
    """The driver loop over an interval notifier (hmm.rst), with a one-page walk for hmm_range_fault()."""

    def __init__(self, mm: ToyMm, dev: Device) -> None:
        super().__init__()
        self.dev = dev
        self.lock = Mutex("driver_lock")
        self.granted = False
        self.pending: list[Completion] = []
        self.detaching = False
        self.serving = 0
        self.flush_wq = WaitQueue("flush")

    async def read_begin(self) -> int:
        """Start a read section."""
        return await mn.mmu_interval_read_begin(self)

    async def walk(self, mm: ToyMm, seq: int) -> tuple[int, int, bool]:
        """hmm_range_fault() of the page, to write: 0 or -EBUSY, frame, writable."""
        while True:
            if await mn.mmu_interval_check_retry(self, seq):
                return -errno.EBUSY, 0, False
            await point("pte", mm)
            page = mm.page
            if page.pfn and page.writable:
                note(f"walk reads frame {page.pfn}")
                return 0, page.pfn, True
            if page.migrating:
                await mm.migration_entry_wait(BASE)
            else:
                await mm.handle_mm_fault(None, BASE, True)

    async def retry(self, seq: int) -> bool:
        """Under the lock: has the page changed?"""
        return mn.mmu_interval_read_retry(self, seq)

    async def fault(self) -> None:
        """Service one fault of the device: the fault worker."""
        self.serving += 1
        mm = self.mm
        if await mm.mmget_not_zero():
            await self.service(mm)
            await mm.mmput()
        self.serving -= 1
        self.flush_wq.wake_all()

    async def service(self, mm: ToyMm) -> None:
        """Collect and commit until it is not stale."""
        while True:
            seq = await self.read_begin()
            if await self.attempt(mm, seq):
                return

    async def attempt(self, mm: ToyMm, seq: int) -> bool:
        """One pass: True when the fault is answered."""
        await mm.mmap_lock.down_read()
        ret, pfn, write = await self.walk(mm, seq)
        mm.mmap_lock.up_read()
        if ret:
            return False
        await self.lock.lock()
        stale = await self.retry(seq)
        if not stale and not self.detaching:
            self.granted = True
            self.map(pfn, write)
        self.lock.unlock()
        return not stale

    def map(self, pfn: int, write: bool) -> None:
        """Under the lock, in a valid section: let the device use a frame."""
        self.dev.post(FILL, pfn, write, None)

    async def wait_done(self, done: Completion) -> None:
        """Until the device has drained."""
        await done.wait()

    async def try_revoke(self, mark: Callable[[], None]) -> bool:
        """As revoke without sleeping: False, and nothing done, if the device would have to be waited for."""
        if not await self.lock.trylock():
            return False
        idle = not self.granted and not self.pending
        if idle:
            mark()
        self.lock.unlock()
        return idle

    async def revoke(self, mark: Callable[[], None]) -> None:
        """Notifier callback: on return the device does not use the page any more."""
        await self.lock.lock()
        mark()
        waits = list(self.pending)
        mine = None
        if self.granted:
            self.granted = False
            mine = Completion()
            self.dev.post(INVALIDATE, 0, False, mine)
            self.pending.append(mine)
        self.lock.unlock()
        for c in waits:
            await self.wait_done(c)
        if mine is not None:
            await self.wait_done(mine)
            self.pending.remove(mine)

    async def flush(self) -> None:
        """flush_work(): until no fault is being serviced."""
        await self.flush_wq.wait(lambda: not self.serving)

    async def remove(self) -> None:
        """The notifier goes."""
        await mn.mmu_interval_notifier_remove(self)

    async def detach(self) -> None:
        """The device forgets the process, the fault worker is flushed, the notifier goes, memory is freed."""
        await self.lock.lock()
        self.detaching = True
        self.granted = False
        done = Completion()
        self.dev.post(INVALIDATE, 0, False, done)
        # A callback that finds nothing granted has to wait for the drain too.
        self.pending.append(done)
        self.lock.unlock()
        await done.wait()
        self.pending.remove(done)
        await self.flush()
        await self.remove()
        self.dev.attachment = None
        kfree(self)


class IntervalOps(mn.MmuIntervalNotifierOps):
    """Callbacks of Driver."""

    async def invalidate(self, sub: Any, range_: MmuNotifierRange, cur_seq: int) -> bool:
        """invalidate()."""

        def mark() -> None:
            mn.mmu_interval_set_seq(sub, cur_seq)

        if not range_.blockable:
            return await sub.try_revoke(mark)
        await sub.revoke(mark)
        return True


class MirrorDriver(hm.HmmMirror):
    """The driver loop over a version of the mirror API."""

    def __init__(self, dev: Device, api: MirrorApi = MIRROR) -> None:
        super().__init__(MIRROR_OPS)
        self.dev = dev
        self.api = api
        self.device_lock = Mutex("driver_lock")
        self.granted = False
        self.released = 0

    async def register(self, mm: ToyMm, lock: bool = True) -> int:
        """hmm_mirror_register() under mmap_lock, or without."""
        if not lock:
            return await self.api.register(self, mm)
        await mm.mmap_lock.down_write()
        ret = await self.api.register(self, mm)
        mm.mmap_lock.up_write()
        return ret

    async def fault(self, mm: ToyMm) -> None:
        """Service one fault of the device."""
        if not await mm.mmget_not_zero():
            return
        await self.service(mm)
        await mm.mmput()

    async def service(self, mm: ToyMm, trust: bool = False) -> None:
        """Until the pfns are valid; with `trust` the pfns that are not 0 are used whatever the range says."""
        api = self.api
        while True:
            await api.wait_idle(self)
            await mm.mmap_lock.down_read()
            rng = api.range(mm.find_vma(BASE), BASE, BASE + PAGE, REQUEST)
            ret = await api.fault(self, rng)
            mm.mmap_lock.up_read()
            if ret:
                note(f"hmm_vma_fault: {ret}")
                return
            await self.device_lock.lock()
            valid = await api.done(rng) or trust
            pfn = int(rng.pfns[0])
            if valid and pfn:
                self.granted = True
                self.dev.post(FILL, pfn & HMM_PFN_MASK, bool(pfn & HMM_PFN_WRITE), None)
            self.device_lock.unlock()
            if valid:
                return

    async def revoke(self) -> None:
        """The device stops using the page."""
        await self.device_lock.lock()
        done = None
        if self.granted:
            self.granted = False
            done = Completion()
            self.dev.post(INVALIDATE, 0, False, done)
        self.device_lock.unlock()
        if done is not None:
            await done.wait()

    async def try_revoke(self) -> int:
        """As revoke without sleeping: -EAGAIN, and nothing done, if the device has the page."""
        if not await self.device_lock.trylock():
            return -errno.EAGAIN
        busy = self.granted
        self.device_lock.unlock()
        return -errno.EAGAIN if busy else 0

    async def unregister(self, free: bool = True) -> None:
        """The device stops, hmm_mirror_unregister(), and the structure is freed."""
        await self.api.unregister(self)
        await self.revoke()
        if free:
            kfree(self)


class MirrorOps(hm.HmmMirrorOps):
    """Callbacks of MirrorDriver."""

    async def sync_cpu_device_pagetables(self, mirror: Any, update: hm.HmmUpdate) -> int:
        """The device stops using the range; -EAGAIN if it would have to be waited for and must not."""
        if not update.blockable:
            return await mirror.try_revoke()
        await mirror.revoke()
        return 0

    async def release(self, mirror: Any) -> None:
        """The process exits."""
        await mirror.revoke()
        await point("release", mirror)
        mirror.released += 1


INTERVAL_OPS = IntervalOps()
MIRROR_OPS = MirrorOps()


def now(coro: Coroutine[Any, Any, Any]) -> Any:
    """Run set-up code to its end at once; it must not sleep."""
    try:
        while True:
            op, a, _ = coro.send(None)
            assert op == POINT, f"set-up sleeps on {a}"
    except StopIteration as e:
        return e.value


class World:
    """A process, a device and an attached Driver."""

    def __init__(self, sched: Scheduler, granted: bool = False) -> None:
        self.sched = sched
        mm = self.mm = ToyMm()
        dev = self.dev = Device(mm)
        mm.devices = (dev,)
        self.drv = Driver(mm, dev)
        now(mn.mmu_interval_notifier_insert(self.drv, mm, BASE, PAGE, INTERVAL_OPS))
        dev.attachment = self.drv
        if granted:
            dev.tlb, dev.write, self.drv.granted = mm.page.pfn, True, True
        sched.spawn(dev.commands(), "device", daemon=True)

    def spawn(self, **threads: Coroutine[Any, Any, Any]) -> None:
        """Start threads by name."""
        for name, coro in threads.items():
            self.sched.spawn(coro, name)


class MirrorWorld:
    """A process and devices with a mirror each, registered or not."""

    def __init__(
        self,
        sched: Scheduler,
        mirrors: int = 1,
        register: bool = True,
        pins: int = 0,
        api: MirrorApi = MIRROR,
        mm: ToyMm | None = None,
    ) -> None:
        self.sched = sched
        mm = self.mm = mm or ToyMm()
        mm.devices = tuple(Device(mm) for _ in range(mirrors))
        self.mirrors = [MirrorDriver(d, api) for d in mm.devices]
        for m in self.mirrors:
            if register:
                assert now(m.register(mm)) == 0
            sched.spawn(m.dev.commands(), "device", daemon=True)
        for _ in range(pins):
            now(mm.mmgrab())

    def spawn(self, **threads: Coroutine[Any, Any, Any]) -> None:
        """Start threads by name."""
        for name, coro in threads.items():
            self.sched.spawn(coro, name)


#: classes that hold shared state: what dpor.tracking() observes
TRACKED: tuple[type, ...] = (
    Page, ToyMm, Completion, Device, mn.NotifierSubscriptions, mn.MmuNotifier, mn.MmuIntervalNotifier,
    mn.MmuNotifierOps, hm.HmmMirror, hm.StructHmm, hm.StructHmmRange, Kref, Mutex, RwSem, Srcu, WaitQueue,
)  # fmt: skip
