"""Small worlds of the interval API's corners: two-pass invalidation, the owner of an event, migration.

One page, as in `world`. `TwoPassDriver` starts the flush of its device in the first pass and waits for it in
the second, so that the flushes of several devices overlap; then it takes away the DMA mapping of the frame.
`OwnerDriver` is the owner of MIGRATE and EXCLUSIVE events.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from sw_model import mmu_notifier as mn
from sw_model.explore.world import (
    BASE,
    INTERVAL_OPS,
    INVALIDATE,
    PAGE,
    Completion,
    Device,
    Driver,
    Stale,
    ToyMm,
    now,
)
from sw_model.locking import is_freed, warn_on
from sw_model.mmu_notifier import MmuNotifierRange, MmuNotifyEvent
from sw_model.sched import Scheduler


class Flush(mn.MmuIntervalNotifierFinish):
    """The flush that a first pass has started: completions to wait for, the last one of its own if any."""

    def __init__(self, waits: list[Completion], mine: Completion | None) -> None:
        super().__init__()
        self.waits = waits
        self.mine = mine


class TwoPassDriver(Driver):
    """A driver whose invalidation has two passes. `dma`: the frame that the device can reach, or 0."""

    def __init__(self, mm: ToyMm, dev: Device) -> None:
        super().__init__(mm, dev)
        self.dma = 0

    def map(self, pfn: int, write: bool) -> None:
        """Map the frame for DMA, then fill."""
        self.dma = pfn
        super().map(pfn, write)

    def unmap(self) -> None:
        """dma_unmap_page(). Raises Stale when the device may still use the frame."""
        if self.dev.tlb or self.dev.inflight:
            raise Stale(f"frame {self.dma} is unmapped for DMA while the device uses it")
        self.dma = 0

    async def start_flush(self, mark: Callable[[], None]) -> Flush | None:
        """The first pass: ends read sections, and starts the flush."""
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
        return Flush(waits, mine) if waits or mine is not None else None

    async def wait_flush(self, flush: Flush) -> None:
        """The second pass: on return the device does not use the page any more."""
        for c in flush.waits:
            await self.wait_done(c)
        if flush.mine is not None:
            await self.wait_done(flush.mine)
            warn_on(flush.mine not in self.pending, "a flush is finished twice")
            self.pending.remove(flush.mine)
            self.unmap()


class TwoPassOps(mn.MmuIntervalNotifierOps):
    """Callbacks of TwoPassDriver."""

    async def invalidate_start(self, sub: Any, range_: MmuNotifierRange, cur_seq: int) -> Any:  # type: ignore[override]
        """invalidate_start()."""

        def mark() -> None:
            mn.mmu_interval_set_seq(sub, cur_seq)

        if not range_.blockable:
            return await sub.try_revoke(mark), None
        return True, await sub.start_flush(mark)

    async def invalidate_finish(self, final: Any) -> None:  # type: ignore[override]
        """invalidate_finish()."""
        await final.notifier.wait_flush(final)


TWO_PASS_OPS = TwoPassOps()


class TwoPassWorld:
    """A process on `passes` devices: 2 for a driver of two passes, 1 for one of a single pass."""

    def __init__(self, sched: Scheduler, passes: tuple[int, ...] = (2, 2), granted: bool = False) -> None:
        self.sched = sched
        mm = self.mm = ToyMm()
        mm.devices = tuple(Device(mm) for _ in passes)
        self.drivers = []
        for n, (dev, p) in enumerate(zip(mm.devices, passes, strict=True)):
            dev.name = f"device{n}"
            drv = TwoPassDriver(mm, dev) if p == 2 else Driver(mm, dev)
            ops = TWO_PASS_OPS if p == 2 else INTERVAL_OPS
            now(mn.mmu_interval_notifier_insert(drv, mm, BASE, PAGE, ops))
            dev.attachment = drv
            if granted:
                grant(drv)
            self.drivers.append(drv)
            sched.spawn(dev.commands(), dev.name, daemon=True)

    def spawn(self, **threads: Coroutine[Any, Any, Any]) -> Callable[[], None]:
        """Start threads by name; the check for the end."""
        for name, coro in threads.items():
            self.sched.spawn(coro, name)
        return self.check

    def check(self) -> None:
        """At the end. Raises Stale."""
        for dev in self.mm.devices:
            dev.check()


def grant(drv: Driver) -> None:
    """The device has the page, writable, from the start."""
    dev = drv.dev
    dev.tlb, dev.write, drv.granted = drv.mm.page.pfn, True, True
    if isinstance(drv, TwoPassDriver):
        drv.dma = dev.tlb


class OwnerDriver(Driver):
    """A driver that migrates the page, or takes it exclusively, in events that name it as the owner."""

    def skips(self, range_: MmuNotifierRange) -> bool:
        """An own EXCLUSIVE event is sent inside a read section, which it must not end."""
        return range_.event is MmuNotifyEvent.EXCLUSIVE and range_.owner is self.dev

    async def invalidate(self, range_: MmuNotifierRange, cur_seq: int) -> None:
        """Notifier callback. An own migration is no exception: it ends the sections of faults."""
        if not self.skips(range_):
            await self.revoke(lambda: mn.mmu_interval_set_seq(self, cur_seq))

    async def migrate(self) -> None:
        """The page moves to another frame. The device has let go of it before."""
        await self.revoke(lambda: None)
        await self.mm.change(self.move, MmuNotifyEvent.MIGRATE, self.dev)

    def move(self) -> None:
        """The page gets another frame."""
        mm = self.mm
        if mm.page.pfn:
            pfn = mm.next_pfn
            mm.next_pfn = pfn + 1
            mm.set_page(pfn)

    async def exclusive(self) -> None:
        """make_device_exclusive() of the page, and its mapping (nouveau_atomic_range_fault)."""
        mm = self.mm
        done = False
        while not done:
            seq = await self.read_begin()
            taken: list[int] = []
            await mm.mmap_lock.down_read()
            await mm.handle_mm_fault(None, BASE, True)
            await mm.change(lambda t=taken: t.append(mm.page.pfn), MmuNotifyEvent.EXCLUSIVE, self.dev)
            mm.mmap_lock.up_read()
            await self.lock.lock()
            if taken[0] and not await self.retry(seq):
                done = self.granted = True
                self.map(taken[0], True)
            self.lock.unlock()


class OwnerOps(mn.MmuIntervalNotifierOps):
    """Callbacks of OwnerDriver."""

    async def invalidate(self, sub: Any, range_: MmuNotifierRange, cur_seq: int) -> bool:
        """invalidate()."""
        await sub.invalidate(range_, cur_seq)
        return True


OWNER_OPS = OwnerOps()


class OwnerWorld:
    """A process on one device whose driver migrates."""

    def __init__(self, sched: Scheduler, granted: bool = False) -> None:
        self.sched = sched
        mm = self.mm = ToyMm()
        dev = self.dev = Device(mm)
        mm.devices = (dev,)
        self.drv = OwnerDriver(mm, dev)
        now(mn.mmu_interval_notifier_insert(self.drv, mm, BASE, PAGE, OWNER_OPS))
        dev.attachment = self.drv
        if granted:
            grant(self.drv)
        sched.spawn(dev.commands(), "device", daemon=True)

    def spawn(self, **threads: Coroutine[Any, Any, Any]) -> Callable[[], None]:
        """Start threads by name; the check for the end."""
        for name, coro in threads.items():
            self.sched.spawn(coro, name)
        return self.dev.check


class LateWorld:
    """A process on one device (`shared`) or none; another one attaches while the exploration runs."""

    def __init__(self, sched: Scheduler, shared: bool = True) -> None:
        self.sched = sched
        mm = self.mm = ToyMm()
        self.devices = mm.devices = tuple(Device(mm) for _ in range(2))
        self.first, self.late = (Driver(mm, dev) for dev in mm.devices)
        if shared:
            now(mn.mmu_interval_notifier_insert(self.first, mm, BASE, PAGE, INTERVAL_OPS))
            mm.devices[0].attachment = self.first
        # attach() of a dying process: the caller holds the structure, not the users
        now(mm.mmgrab())
        for n, dev in enumerate(mm.devices):
            dev.name = f"device{n}"
            sched.spawn(dev.commands(), dev.name, daemon=True)

    async def attach(self) -> bool:
        """iommu_sva_bind_device(): False when the process exits."""
        mm, ok = self.mm, False
        if await mm.mmget_not_zero():
            await mn.mmu_interval_notifier_insert(self.late, mm, BASE, PAGE, INTERVAL_OPS)
            self.late.dev.attachment = self.late
            ok = True
            await mm.mmput()
        await mm.mmdrop()
        return ok

    async def attach_and_fault(self) -> None:
        """Attach, and service a fault."""
        if await self.attach():
            await self.late.dev.fault()

    async def attach_and_detach(self) -> None:
        """Attach, and detach at once."""
        if await self.attach():
            await self.late.detach()

    def spawn(self, **threads: Coroutine[Any, Any, Any]) -> Callable[[], None]:
        """Start threads by name; the check for the end."""
        for name, coro in threads.items():
            self.sched.spawn(coro, name)
        return self.check

    def check(self) -> None:
        """At the end. Raises Stale."""
        for dev in self.devices:
            if not is_freed(self.mm):
                dev.check()
            elif dev.tlb:
                raise Stale(f"the device maps frame {dev.tlb} of a process that is gone")
