"""What drivers add to the protocol of explore.world: keys, work queues, the IOMMU, memory under pressure.

Each class is the piece of a driver in which a published bug lived, in its fixed form, on the one page of
explore.world. The mutants put the bugs back.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from sw_model import mmu_notifier as mn
from sw_model.explore.notes import note
from sw_model.explore.world import (
    BASE,
    FILL,
    INTERVAL_OPS,
    PAGE,
    Completion,
    Device,
    Driver,
    IntervalOps,
    Stale,
    ToyMm,
    World,
    now,
)
from sw_model.locking import Mutex, RwSem, kfree
from sw_model.mmu_notifier import MmuNotifierRange, MmuNotifyEvent
from sw_model.sched import Scheduler, WaitQueue, point


async def reap(mm: ToyMm) -> bool:
    """The OOM reaper's non-blocking zap of the page; False when a notifier refused."""
    r = MmuNotifierRange(mm, BASE, BASE + PAGE, MmuNotifyEvent.CLEAR, blockable=False)
    if await mn.mmu_notifier_invalidate_range_start(r):
        note("reaper: refused")
        return False
    await mm.page_table_lock.lock()
    mm.set_page(0)
    mm.page_table_lock.unlock()
    await mn.mmu_notifier_invalidate_range_end(r)
    return True


# -- memory regions with a hardware key (mlx5_ib) --------------------------------------------------------


class KeyDevice(Device):
    """Every command names a key; one that has been freed puts the queue into its error state."""

    def __init__(self, mm: ToyMm) -> None:
        super().__init__(mm)
        self.keys = {1}

    async def commands(self) -> None:
        """The command processor, until the error."""
        while True:
            await self.wq.wait(self._work)
            cmd, key, _, done = self.ring.pop(0)
            if key not in self.keys:
                note(f"device: {cmd} of key {key}, which is gone: the queue stops")
                return
            self.tlb = 0
            note(f"device: {cmd} of key {key} complete")
            if cmd == "revoke":
                self.keys.remove(key)
            assert done is not None
            done.done = True
            done.wq.wake_all()


class Mkey:
    """The key by which the device knows a region."""

    def __init__(self, number: int) -> None:
        self.number = number


class Region(Driver):
    """A memory region of an application (struct mlx5_ib_mr): invalidations name its key."""

    dev: KeyDevice

    def __init__(self, mm: ToyMm, dev: KeyDevice) -> None:
        super().__init__(mm, dev)
        self.mkey: Any = None
        self.revoked = False

    async def create(self) -> None:
        """Complete, then the notifier goes live."""
        await self.set_up()
        await self.go_live()

    async def set_up(self) -> None:
        """The key is the device's and the page is mapped by it."""
        await point("mkey", self)
        self.mkey = Mkey(1)

    async def go_live(self) -> None:
        """mmu_interval_notifier_insert()."""
        await mn.mmu_interval_notifier_insert(self, self.dev.mm, BASE, PAGE, INTERVAL_OPS)

    async def revoke(self, mark: Callable[[], None]) -> None:
        """mlx5_ib_invalidate_range(): under the lock the key is valid or known to be gone."""
        await self.lock.lock()
        mark()
        if not self.revoked:
            await self.command("invalidate")
        self.lock.unlock()

    async def command(self, cmd: str) -> None:
        """Post a command for the key and wait."""
        done = Completion()
        self.dev.post(cmd, self.mkey.number, False, done)
        await done.wait()

    async def revoke_key(self) -> None:
        """mlx5_revoke_mr(): the device frees the key."""
        await self.lock.lock()
        await self.command("revoke")
        self.revoked = True
        self.lock.unlock()

    async def destroy(self) -> None:
        """mlx5_ib_dereg_mr()."""
        await self.revoke_key()
        await self.remove()
        kfree(self)


class RegionWorld:
    """A process, a device with keys, and a region, created already or not."""

    def __init__(self, sched: Scheduler, created: bool = True) -> None:
        self.mm = ToyMm()
        self.dev = KeyDevice(self.mm)
        self.mm.devices = (self.dev,)
        self.region = Region(self.mm, self.dev)
        if created:
            now(self.region.create())
        sched.spawn(self.dev.commands(), "device", daemon=True)


# -- children that destroy themselves (implicit ODP) -----------------------------------------------------


class Child(Driver):
    """A child of an implicit region: an invalidation that leaves it empty has it destroyed."""

    def __init__(self, mm: ToyMm, dev: Device, work: Work) -> None:
        super().__init__(mm, dev)
        self.work = work
        self.claimed = False

    def claim(self) -> bool:
        """xa_cmpxchg() of the parent's entry: True for the first."""
        first, self.claimed = not self.claimed, True
        return first

    async def revoke(self, mark: Callable[[], None]) -> None:
        """Nothing is left: queue the destroy work, once."""
        await super().revoke(mark)
        await self.lock.lock()
        if self.claim():
            self.work.add(self)
        self.lock.unlock()

    async def destroy(self) -> None:
        """free_implicit_child_mr_work()."""
        await self.remove()
        kfree(self)


class Work:
    """A work queue that destroys."""

    def __init__(self) -> None:
        self.queue: list[Child] = []
        self.wq = WaitQueue("work")

    def add(self, child: Child) -> None:
        """queue_work()."""
        note("destroy work queued")
        self.queue.append(child)
        self.wq.wake_all()

    async def run(self) -> None:
        """The worker."""
        while True:
            await self.wq.wait(lambda: bool(self.queue))
            await self.queue.pop(0).destroy()


# -- reverse maps and folio locks ------------------------------------------------------------------------


class RmapMm(ToyMm):
    """Reclaim finds the page by its reverse map: no reference on the process, but exit waits for the walk."""

    def __init__(self) -> None:
        super().__init__()
        self.rmap = RwSem("anon_vma")
        self.folio = Mutex("folio")

    async def rmap_reclaim(self) -> None:
        """shrink_folio_list(), try_to_unmap(): folio lock, reverse map, notifier."""
        await self.folio.lock()
        await self.rmap.down_read()
        if self.page.pfn:
            await self.reclaim()
        self.rmap.up_read()
        self.folio.unlock()

    async def exit_mmap(self) -> None:
        """Release; the VMAs go once no walk is inside (unlink_anon_vmas)."""
        await mn.mmu_notifier_release(self)
        await self.rmap.down_write()
        self.set_page(0)
        self.rmap.up_write()


class DirtyDriver(Driver):
    """Marks what the device may write dirty when it has mapped it (xe_userptr)."""

    async def attempt(self, mm: Any, seq: int) -> bool:
        """The folio lock is outside the notifier lock."""
        done = await super().attempt(mm, seq)
        if done:
            await mm.folio.lock()
            note("page marked dirty")
            mm.folio.unlock()
        return done


# -- the IOMMU -------------------------------------------------------------------------------------------


class IommuDevice(Device):
    """A device behind an IOMMU: `mapped` is the frame that it lets through, 0 for none."""

    def __init__(self, mm: ToyMm) -> None:
        super().__init__(mm)
        self.mapped = 0

    def dma_map(self, pfn: int) -> None:
        """dma_map_page(). Raises Stale for a frame that is not the page's."""
        note(f"IOMMU: map {pfn}")
        if self.mm.page.pfn != pfn:
            raise Stale(f"the IOMMU lets frame {pfn} through, the CPU has {self.mm.page.pfn}")
        self.mapped = pfn

    def dma_unmap(self) -> None:
        """dma_unmap_page()."""
        self.mapped = 0

    def check_gone(self, old: int, new: int, writable: bool) -> None:
        """The entry changes: nothing may be let through to the old frame."""
        if self.mapped == old and new != old:
            raise Stale(f"frame {old} leaves the page table while the IOMMU lets it through")
        super().check_gone(old, new, writable)


class IommuDriver(Driver):
    """DMA-maps the page for the device while it holds the lock and the section holds (drm_gpusvm)."""

    dev: IommuDevice

    async def attempt(self, mm: Any, seq: int) -> bool:
        """Collect; under the lock: check, map, post."""
        await mm.mmap_lock.down_read()
        ret, pfn, write = await self.walk(mm, seq)
        mm.mmap_lock.up_read()
        if ret:
            return False
        await self.lock.lock()
        stale = await self.retry(seq)
        if not stale:
            self.dev.dma_map(pfn)
            self.granted = True
            self.dev.post(FILL, pfn, write, None)
        self.lock.unlock()
        return not stale

    async def revoke(self, mark: Callable[[], None]) -> None:
        """The mapping goes when the device has drained."""
        await super().revoke(mark)
        self.dev.dma_unmap()


# -- memory pressure -------------------------------------------------------------------------------------


class TightDriver(Driver):
    """An invalidation wants memory for its command and may get none (sched.choose): it has one in reserve."""

    def __init__(self, mm: ToyMm, dev: Device, sched: Any) -> None:
        super().__init__(mm, dev)
        self.sched = sched

    async def revoke(self, mark: Callable[[], None]) -> None:
        """hmm_invalidate() of uvm."""
        if self.sched.choose(2):
            note("no memory for a context")
            await self.no_memory(mark)
        else:
            await super().revoke(mark)

    async def no_memory(self, mark: Callable[[], None]) -> None:
        """With the context in reserve."""
        await super().revoke(mark)


# -- the end of the process ------------------------------------------------------------------------------


class ReleaseOps(IntervalOps):
    """No shortcut when the process exits: the pages go back when this returns."""

    async def invalidate(self, sub: Any, range_: MmuNotifierRange, cur_seq: int) -> bool:
        """As for any other event."""
        if range_.event == MmuNotifyEvent.RELEASE:
            await self.released(sub, lambda: mn.mmu_interval_set_seq(sub, cur_seq))
            return True
        return await super().invalidate(sub, range_, cur_seq)

    async def released(self, sub: Any, mark: Callable[[], None]) -> None:
        """The address space goes."""
        await sub.revoke(mark)


RELEASE_OPS = ReleaseOps()


# -- fault records that outlive their access (amdkfd) --------------------------------------------------


class RetryDevice(Device):
    """An access that misses writes a record for each time it is tried: more than one."""

    TRIES = 2

    def __init__(self, mm: ToyMm) -> None:
        super().__init__(mm)
        self.records: list[int] = []
        self.written = 0
        self.record_wq = WaitQueue("records")

    async def access(self) -> None:
        """One access, stalled until its translation is there."""
        await point("lookup", self)
        for _ in range(self.TRIES):
            self.records.append(self.written)
            self.written += 1
        self.record_wq.wake_all()
        await self.drain_wq.wait(lambda: self.tlb)
        note("device: access done")

    async def commands(self) -> None:
        """The command processor: one fill, then invalidations."""
        while True:
            await self.wq.wait(self._work)
            cmd, pfn, write, done = self.ring.pop(0)
            note(f"device: {cmd}")
            if cmd == FILL:
                self.tlb, self.write = pfn, write
                self.drain_wq.wake_all()
                continue
            self.tlb = 0
            assert done is not None
            done.done = True
            done.wq.wake_all()


class RetryMm(ToyMm):
    """The page can be unmapped."""

    def __init__(self) -> None:
        super().__init__()
        self.mapped = True

    async def munmap(self) -> None:
        """munmap(): event UNMAP."""

        def unmap() -> None:
            self.mapped = False
            self.set_page(0)

        await self.mmap_lock.down_write()
        await self.change(unmap, MmuNotifyEvent.UNMAP)
        self.mmap_lock.up_write()


class RetryDriver(Driver):
    """Drops the records of what was unmapped after they had been written (svm_range_restore_pages)."""

    dev: RetryDevice

    def __init__(self, mm: ToyMm, dev: RetryDevice) -> None:
        super().__init__(mm, dev)
        self.record = 0
        self.checkpoint = 0

    async def serve(self) -> None:
        """The worker."""
        while True:
            await self.dev.record_wq.wait(lambda: bool(self.dev.records))
            self.record = self.dev.records.pop(0)
            note(f"record {self.record}")
            await self.fault()

    async def walk(self, mm: Any, seq: int) -> tuple[int, int, bool]:
        """-EFAULT without a VMA."""
        return await super().walk(mm, seq) if mm.mapped else (-errno.EFAULT, 0, False)

    async def attempt(self, mm: Any, seq: int) -> bool:
        """A fault without a VMA kills the process, unless its record is stale."""
        if await super().attempt(mm, seq):
            return True
        killed = not mm.mapped and not self.stale()
        assert not killed, "the process is killed for a fault at what it had unmapped when all was done"
        return not mm.mapped

    def stale(self) -> bool:
        """The record is older than the last unmap."""
        return self.record < self.checkpoint

    async def revoke(self, mark: Callable[[], None]) -> None:
        """Note how far the ring of records had come."""
        self.checkpoint = self.dev.written
        await super().revoke(mark)


class PiecesWorld(World):
    """World with other classes of memory, device, driver and callbacks."""

    def __init__(
        self,
        sched: Scheduler,
        mm: ToyMm,
        dev: Device,
        drv: Driver,
        granted: bool = False,
        ops: mn.MmuIntervalNotifierOps = INTERVAL_OPS,
    ) -> None:
        self.sched, self.mm, self.dev, self.drv = sched, mm, dev, drv
        mm.devices = (dev,)
        now(mn.mmu_interval_notifier_insert(drv, mm, BASE, PAGE, ops))
        dev.attachment = drv
        if granted:
            dev.tlb, dev.write, drv.granted = mm.page.pfn, True, True
        sched.spawn(dev.commands(), "device", daemon=True)
