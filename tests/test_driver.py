"""The driver end to end over the functional device, under random interleavings, with a check of every access.

The check knows the CPU page table (from the observers of PhysMem) and nothing of the driver: when an access
of the device touches a frame, the page table of its process must map exactly that frame at that address, with
the permission that the access needs; and a page that leaves the page table, or goes back to the allocator,
has neither a translation in the device nor an access in flight.
"""

from __future__ import annotations

import contextlib
import errno
import random
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from sw_model import driver as drv_mod
from sw_model.device_interface import DONE, WORK, Work, WorkStatus
from sw_model.driver import SvmDriver
from sw_model.engine import Engine
from sw_model.func_device import WRITE, Access, FuncDevice
from sw_model.locking import KernelBug, is_freed
from sw_model.migrate import migrate_range
from sw_model.mm import MmStruct
from sw_model.mmu_notifier import (
    MmuNotifierRange,
    MmuNotifyEvent,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from sw_model.pagetable import HPAGE as HUGE
from sw_model.pagetable import PAGE_SIZE as PAGE
from sw_model.phys import PhysMem
from sw_model.sched import RandomStrategy, Scheduler, Thread, WaitQueue, point
from sw_model.thp import collapse_huge_page
from sw_model.vma import (
    MADV_DONTNEED,
    MADV_PAGEOUT,
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_PRIVATE,
    PROT_READ,
    PROT_WRITE,
)

BASE = 0x1000_0000
RW, RO = PROT_READ | PROT_WRITE, PROT_READ
ANON_FIXED = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED
MIRRORS = ("interval", "mirror")


class Stale(AssertionError):
    """The device used a translation that it had to have forgotten."""


class Check:
    """Watches mm and device."""

    def __init__(self, dev: FuncDevice, phys: PhysMem) -> None:
        self.dev = dev
        self.mm_of: dict[int, Any] = {}
        self.pte: dict[tuple[int, int], tuple[int, bool]] = {}
        self.accesses = 0
        dev.on_access = self.access
        phys.add_observer(self)

    def _pasids(self, mm: Any) -> list[int]:
        return [p for p, m in self.mm_of.items() if m is mm]

    def on_pte_set(self, mm: Any, vaddr: int, pfn: int, nr_pages: int, writable: bool) -> None:
        for i in range(nr_pages):
            key = id(mm), (vaddr >> 12) + i
            old = self.pte.get(key)
            if old is not None and (old[0] != pfn + i or (old[1] and not writable)):
                self._gone(mm, key[1], write_only=old[0] == pfn + i)
            self.pte[key] = pfn + i, writable

    def on_pte_clear(self, mm: Any, vaddr: int, nr_pages: int) -> None:
        for i in range(nr_pages):
            if self.pte.pop((id(mm), (vaddr >> 12) + i), None) is not None:
                self._gone(mm, (vaddr >> 12) + i)

    def _gone(self, mm: Any, vpn: int, write_only: bool = False) -> None:
        for pasid in self._pasids(mm):
            for t in self.dev.tlb:
                if t.covers(pasid, vpn, vpn + 1) and (not write_only or t.perm & WRITE):
                    raise Stale(f"page {vpn:#x} leaves the page table with a translation in the device")
            for a in self.dev.inflight:
                if a.pasid == pasid and a.vpn == vpn and (not write_only or a.kind == WRITE):
                    raise Stale(f"page {vpn:#x} leaves the page table with an access in flight")

    def on_frame_free(self, pfn: int, nr: int) -> None:
        for t in self.dev.tlb:
            if t.pfn < pfn + nr and pfn < t.pfn + t.npages:
                raise Stale(f"frame {pfn} is freed with a translation in the device")

    def access(self, phase: str, a: Access, pfn: int) -> None:
        self.accesses += 1
        now = self.pte.get((id(self.mm_of.get(a.pasid)), a.vpn))
        if now is None or now[0] != pfn:
            raise Stale(f"{phase}: page {a.vpn:#x} of PASID {a.pasid} through frame {pfn}, the CPU has {now}")
        if a.kind == WRITE and not now[1]:
            raise Stale(f"{phase}: write to the read-only page {a.vpn:#x}")


class World:
    """A machine: memory, device, driver, engine."""

    def __init__(
        self, seed: int, mirror: str, switch: float = 0.3, frames: int = 4096, **options: Any
    ) -> None:
        self.rng = random.Random(seed)
        self.memory = np.zeros(frames * PAGE, np.uint8)
        self.sched = Scheduler(RandomStrategy(seed, switch))
        self.phys = PhysMem(self.memory, seed=seed)
        self.dev = FuncDevice(self.memory, seed, mshrs=8, park=16, capacity=options.pop("capacity", 64))
        self.drv = SvmDriver(self.dev, self.phys, self.sched, mirror, **options)
        self.eng = Engine(self.dev, self.phys, self.sched, log2_work=4, log2_done=4)
        self.check = Check(self.dev, self.phys)

    def run(self, main: Callable[[World], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            await self.drv.probe()
            await self.eng.probe()
            await main(self)
            await self.eng.stop()
            await self.drv.remove()
            assert not self.drv.command_errors, self.drv.command_errors
            assert not self.dev.tlb and not self.dev.inflight and not self.dev.faults

        self.sched.spawn(self.dev.run_thread(), "device", daemon=True)
        self.sched.spawn(whole(), "main")
        try:
            self.sched.run(idle=self.dev.idle)
        finally:
            for t in self.sched.threads:
                with contextlib.suppress(Exception):
                    t.coro.close()
        assert self.phys.check_balance() == []

    def spawn(self, coro: Coroutine[Any, Any, Any], name: str) -> Thread:
        return self.sched.spawn(coro, name)

    async def attach(self, mm: MmStruct) -> int:
        pasid = next(p for p in range(1, 100) if p not in self.drv.attachments and p not in self.check.mm_of)
        self.check.mm_of[pasid] = mm
        assert await self.drv.attach(mm, pasid) == pasid
        return pasid

    async def detach(self, pasid: int) -> None:
        await self.drv.detach(pasid)
        del self.check.mm_of[pasid]

    async def work(self, op: Work, pasid: int, va: Any, n: int = 8, data: Any = 0, src: Any = 0) -> list[int]:
        """Run descriptors; their statuses."""
        va = np.atleast_1d(np.asarray(va, np.uint64))
        full = {"pasid": pasid, "len": n, "data": data, "src": src}
        rows = WORK.pack(op=np.full(len(va), int(op), np.uint64), va=va, **full)
        return DONE.get(await self.eng.run(rows), "status").tolist()


def pages(first: int, n: int) -> np.ndarray:
    return np.uint64(BASE) + np.arange(first, first + n, dtype=np.uint64) * np.uint64(PAGE)


OK, SLVERR, DECERR = int(WorkStatus.OK), int(WorkStatus.SLVERR), int(WorkStatus.DECERR)


# ---- one thing at a time ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mirror", MIRRORS)
@pytest.mark.parametrize("around", [1, 8])
def test_device_and_cpu_see_the_same_memory(mirror: str, around: int) -> None:
    async def main(w: World) -> None:
        mm = MmStruct(w.phys)
        await mm.mmap(BASE, 32 * PAGE, RW, ANON_FIXED)
        pasid = await w.attach(mm)
        await mm.store(BASE + 5 * PAGE, b"\x11" * 8)
        assert await w.work(Work.WRITE, pasid, pages(0, 32), data=np.arange(32, dtype=np.uint64)) == [OK] * 32
        for i in range(32):
            assert int.from_bytes(await mm.load(BASE + i * PAGE, 8), "little") == i
        await mm.store(BASE + 3 * PAGE, (99).to_bytes(8, "little"))
        assert await w.work(Work.COPY, pasid, pages(7, 1), src=BASE + 3 * PAGE) == [OK]
        assert await mm.load(BASE + 7 * PAGE, 1) == b"\x63"
        assert await w.work(Work.CAS, pasid, pages(7, 1), src=99, data=7) == [OK]
        assert await mm.load(BASE + 7 * PAGE, 1) == b"\x07"
        assert await w.work(Work.FILL, pasid, [BASE + 100], n=3 * PAGE, data=0x0101010101010101) == [OK]
        assert await mm.load(BASE + PAGE, 8) == b"\x01" * 8
        await w.detach(pasid)
        assert w.drv.attachments == {}
        await mm.exit()
        assert is_freed(mm)

    World(1, mirror, fault_around=around).run(main)


@pytest.mark.parametrize("mirror", MIRRORS)
def test_answers(mirror: str) -> None:
    """EFAULT and EPERM are Invalid, a process that has gone is Failure; one bad page fails nothing else."""

    async def main(w: World) -> None:
        mm = MmStruct(w.phys)
        await mm.mmap(BASE, 4 * PAGE, RW, ANON_FIXED)
        await mm.mprotect(BASE + 2 * PAGE, PAGE, RO)
        await mm.mprotect(BASE + 3 * PAGE, PAGE, 0)
        pasid = await w.attach(mm)
        assert await w.work(Work.WRITE, pasid, pages(0, 5)) == [OK, OK, SLVERR, SLVERR, SLVERR]
        assert await w.work(Work.READ, pasid, pages(0, 5)) == [OK, OK, OK, SLVERR, SLVERR]
        assert await w.work(Work.READ, pasid + 1, pages(0, 1)) == [DECERR]
        await mm.mprotect(BASE, 4 * PAGE, RW)
        assert await w.work(Work.WRITE, pasid, pages(0, 4)) == [OK] * 4
        await mm.exit()
        assert await w.work(Work.READ, pasid, pages(0, 4)) == [DECERR] * 4
        assert mm.mm_count > 0
        await w.detach(pasid)
        assert await w.work(Work.READ, pasid, pages(0, 1)) == [DECERR]
        assert is_freed(mm)

    World(2, mirror, fault_around=4).run(main)


@pytest.mark.parametrize("mirror", MIRRORS)
def test_huge_leaves(mirror: str) -> None:
    """A 2-MiB leaf of the CPU becomes one 2-MiB fill; losing 4 KiB of it drops it."""

    async def main(w: World) -> None:
        mm = MmStruct(w.phys, thp=True)
        at = HUGE * 64
        await mm.mmap(at, 2 * HUGE, RW, ANON_FIXED)
        await mm.store(at, b"x")
        assert mm.pte(at).order == 9
        pasid = await w.attach(mm)
        va = np.uint64(at) + np.arange(0, HUGE, 16 * PAGE, dtype=np.uint64)
        assert set(await w.work(Work.WRITE, pasid, va)) == {OK}
        assert w.drv.stats["huge_fills"] >= 1 and w.drv.stats["fills"] == w.drv.stats["huge_fills"]
        assert {t.npages for t in w.dev.tlb} == {512}
        await mm.munmap(at + 8 * PAGE, PAGE)
        assert not w.dev.tlb
        va = np.uint64(at) + np.arange(7, 10, dtype=np.uint64) * np.uint64(PAGE)
        assert await w.work(Work.WRITE, pasid, va) == [OK, SLVERR, OK]
        assert {t.npages for t in w.dev.tlb} == {1}
        await w.detach(pasid)
        await mm.exit()

    World(3, mirror).run(main)


def test_huge_can_be_off() -> None:
    async def main(w: World) -> None:
        mm = MmStruct(w.phys, thp=True)
        await mm.mmap(HUGE * 64, HUGE, RW, ANON_FIXED)
        pasid = await w.attach(mm)
        assert await w.work(Work.WRITE, pasid, [HUGE * 64 + 5 * PAGE]) == [OK]
        assert w.drv.stats["huge_fills"] == 0 and {t.npages for t in w.dev.tlb} == {1}
        await w.detach(pasid)
        await mm.exit()

    World(3, "interval", huge=False).run(main)


def test_break_before_make() -> None:
    """A change of page size goes through an invalidation even if no notifier asked for one."""

    async def main(w: World) -> None:
        mm = MmStruct(w.phys, thp=True)
        await mm.mmap(HUGE * 64, HUGE, RW, ANON_FIXED)
        pasid = await w.attach(mm)
        w.drv.huge = False
        assert await w.work(Work.WRITE, pasid, [HUGE * 64 + 5 * PAGE]) == [OK]
        w.drv.huge = True
        assert await w.work(Work.WRITE, pasid, [HUGE * 64 + 6 * PAGE]) == [OK]
        assert {t.npages for t in w.dev.tlb} == {512} and w.drv.stats["breaks"] == 1
        await w.detach(pasid)
        await mm.exit()

    World(3, "interval").run(main)


def test_one_doorbell_for_a_batch() -> None:
    async def main(w: World) -> None:
        mm = MmStruct(w.phys)
        await mm.mmap(BASE, 8 * PAGE, RW, ANON_FIXED)
        pasid = await w.attach(mm)
        bells = []
        write_reg = w.dev.write_reg

        async def spy(offset: int, value: int) -> None:
            if offset == drv_mod.Reg.CMD_TAIL:
                bells.append(value)
            await write_reg(offset, value)

        w.dev.write_reg = spy  # type: ignore[method-assign]
        steps = w.dev.steps

        def late() -> list[Any]:
            ready = sum(f.sent for f in w.dev.faults.values()) == 8
            return [s for s in steps() if s != ("irq", 0) or ready]

        w.dev.steps = late  # type: ignore[method-assign]
        assert await w.work(Work.WRITE, pasid, pages(0, 8)) == [OK] * 8
        assert len(bells) == 1 and w.drv.stats["batches"] == 1
        w.dev.steps = steps  # type: ignore[method-assign]
        await w.detach(pasid)
        await mm.exit()

    World(4, "interval", switch=0.0).run(main)


def test_small_command_ring() -> None:
    """More commands than the ring holds."""

    async def main(w: World) -> None:
        mm = MmStruct(w.phys)
        await mm.mmap(BASE, 64 * PAGE, RW, ANON_FIXED)
        for i in range(64):
            await mm.store(BASE + (63 - i) * PAGE, b"x")
        pasid = await w.attach(mm)
        assert await w.work(Work.READ, pasid, pages(0, 1)) == [OK]
        assert await w.work(Work.READ, pasid, pages(0, 64)) == [OK] * 64
        assert w.drv.stats["ring_full_waits"] > 0
        await w.detach(pasid)
        await mm.exit()

    World(5, "interval", log2_cmd=4, log2_event=4, log2_fault=4, fault_around=64).run(main)


@pytest.mark.parametrize("mirror", MIRRORS)
def test_nonblocking_invalidation(mirror: str) -> None:
    """Nothing granted: done. Something granted, or the lock taken: -EAGAIN and nothing left over."""

    async def main(w: World) -> None:
        mm = MmStruct(w.phys)
        await mm.mmap(BASE, 8 * PAGE, RW, ANON_FIXED)
        pasid = await w.attach(mm)
        assert await w.work(Work.WRITE, pasid, pages(0, 2)) == [OK] * 2

        def rng(p: int, blockable: bool = False) -> MmuNotifierRange:
            a = BASE + p * PAGE
            return MmuNotifierRange(mm, a, a + PAGE, MmuNotifyEvent.CLEAR, blockable)

        r = rng(5)
        assert await mmu_notifier_invalidate_range_start(r) == 0
        await mmu_notifier_invalidate_range_end(r)
        assert await mmu_notifier_invalidate_range_start(rng(1)) == -errno.EAGAIN
        busy, wq = True, WaitQueue("busy")

        async def holder() -> None:
            async with w.drv.lock:
                await wq.wait(lambda: not busy)

        t = w.sched.spawn(holder(), "holder")
        while not w.drv.lock.held:
            await point("x")
        assert await mmu_notifier_invalidate_range_start(rng(5)) == -errno.EAGAIN
        busy = False
        wq.wake_all()
        await t.join()
        assert not mm.notifier_subscriptions.active_invalidate_ranges
        r = rng(1, True)
        assert await mmu_notifier_invalidate_range_start(r) == 0
        await mmu_notifier_invalidate_range_end(r)
        assert await w.work(Work.WRITE, pasid, pages(0, 8)) == [OK] * 8
        assert w.drv.stats["invalidations_nonblock_refused"] == 2
        await w.detach(pasid)
        await mm.exit()

    World(6, mirror).run(main)


@pytest.mark.parametrize("mirror", MIRRORS)
def test_an_invalidation_never_waits_for_a_fault(mirror: str) -> None:
    """The fault worker sleeps on mmap_lock with a fault in hand; the holder of the lock invalidates."""

    async def main(w: World) -> None:
        mm = MmStruct(w.phys)
        await mm.mmap(BASE, 8 * PAGE, RW, ANON_FIXED)
        pasid = await w.attach(mm)
        assert await w.work(Work.WRITE, pasid, pages(0, 1)) == [OK]
        await mm.mmap_lock.down_write()
        access = w.spawn(w.work(Work.WRITE, pasid, pages(0, 4)), "access")
        while not w.drv._serving:
            await point("main")
        r = MmuNotifierRange(mm, BASE, BASE + PAGE, MmuNotifyEvent.UNMAP)
        assert await mmu_notifier_invalidate_range_start(r) == 0
        assert w.drv._serving and w.dev.faults and not w.dev.tlb
        await mmu_notifier_invalidate_range_end(r)
        mm.mmap_lock.up_write()
        assert await access.join() == [OK] * 4
        await mm.exit()
        await w.detach(pasid)

    World(10, mirror).run(main)


def test_attach_errors() -> None:
    async def main(w: World) -> None:
        mm = MmStruct(w.phys)
        pasid = await w.attach(mm)
        for bad, code in ((pasid, errno.EBUSY), (1 << 20, errno.EINVAL)):
            with pytest.raises(OSError) as e:
                await w.drv.attach(mm, bad)
            assert e.value.errno == code
        more = [await w.drv.attach(mm) for _ in range(w.dev.pasids - 1)]
        with pytest.raises(OSError) as e:
            await w.drv.attach(mm)
        assert e.value.errno == errno.ENOSPC
        for p in more:
            await w.drv.detach(p)
        with pytest.raises(OSError):
            await w.drv.detach(more[0])
        await mm.mmgrab()
        await mm.exit()
        with pytest.raises(OSError) as e:
            await w.drv.attach(mm)
        assert e.value.errno == errno.EINVAL
        await w.detach(pasid)
        await mm.mmdrop()

    World(7, "interval").run(main)


def test_foreign_device() -> None:
    w = World(8, "interval")
    w.dev._read = lambda offset: 0xFFFFFFFF  # type: ignore[method-assign]
    w.sched.spawn(w.drv.probe(), "probe")
    with pytest.raises(OSError) as e:
        w.sched.run(idle=w.dev.idle)
    assert e.value.errno == errno.ENODEV
    with pytest.raises(ValueError):
        SvmDriver(w.dev, w.phys, w.sched, "other")
    with pytest.raises(ValueError):
        SvmDriver(w.dev, w.phys, w.sched, fault_around=3)


# ---- everything at once ----------------------------------------------------------------------------------


CHANGES = ("unmap", "dontneed", "protect", "pageout", "store", "load", "migrate", "fork", "remap")


async def change(w: World, mm: MmStruct, span: int, steps: int, most: int = 8) -> None:
    """One thread of the process changes its own address space, at most `most` pages at a time."""
    rng = w.rng
    for _ in range(steps):
        first = rng.randrange(span)
        n = rng.randint(1, min(most, span - first))
        a, length = BASE + first * PAGE, n * PAGE
        what = rng.choice(CHANGES)
        try:
            if what == "unmap":
                await mm.munmap(a, length)
            elif what == "remap":
                await mm.mmap(a, length, RW, ANON_FIXED)
            elif what == "dontneed":
                await mm.madvise(a, length, MADV_DONTNEED)
            elif what == "protect":
                await mm.mprotect(a, length, rng.choice((0, RO, RW, RW)))
            elif what == "pageout":
                await mm.madvise(a, length, MADV_PAGEOUT)
            elif what == "migrate":
                await migrate_range(mm, a, a + length)
            elif what == "fork":
                child = await mm.fork()
                await child.exit()
            elif what == "store":
                await mm.store(a, bytes([rng.randrange(256)]) * 16)
            else:
                await mm.load(a, 16)
        except OSError:
            pass
        await point("app")


async def use(w: World, pasid: int, span: int, steps: int) -> set[int]:
    """The device accesses the same addresses; which statuses it got."""
    seen: set[int] = set()
    for _ in range(steps):
        op = w.rng.choice((Work.READ, Work.WRITE, Work.WRITE, Work.COPY))
        at = np.array([w.rng.randrange(span) for _ in range(w.rng.randint(1, 12))], np.uint64)
        va = np.uint64(BASE) + at * np.uint64(PAGE)
        src = np.uint64(BASE) + at[::-1] * np.uint64(PAGE)
        seen |= set(await w.work(op, pasid, va, 8, 0x55, src if op == Work.COPY else 0))
    return seen


def storm(seed: int, mirror: str, early_exit: bool = False, **options: Any) -> World:
    w = World(seed, mirror, **options)

    async def main(w: World) -> None:
        span = 24
        mm = MmStruct(w.phys)
        await mm.mmap(BASE, span * PAGE, RW, ANON_FIXED)
        pasid = await w.attach(mm)
        ts = [w.spawn(use(w, pasid, span, 6), f"use{i}") for i in range(2)]
        apps = [w.spawn(change(w, mm, span, 12), f"app{i}") for i in range(2)]
        if early_exit:
            if w.rng.random() < 0.5:
                await apps[0].join()
            for _ in range(w.rng.randrange(300)):
                await point("main")
            if w.rng.random() < 0.5:
                await w.detach(pasid)
                pasid = 0
        for t in apps:
            await t.join()
        await mm.exit()
        for t in ts:
            await t.join()
        if pasid:
            await w.detach(pasid)
        assert is_freed(mm)

    w.run(main)
    return w


@pytest.mark.parametrize("mirror", MIRRORS)
@pytest.mark.parametrize("seed", range(25))
def test_storm(mirror: str, seed: int) -> None:
    around = (1, 4, 16)[seed % 3]
    w = storm(seed, mirror, fault_around=around, workers=1 + seed % 2, eager_write=seed % 4 != 0)
    assert w.drv.stats["faults"] > 0


@pytest.mark.parametrize("mirror", MIRRORS)
@pytest.mark.parametrize("seed", range(25))
def test_exit_and_detach_in_the_middle(mirror: str, seed: int) -> None:
    storm(1000 + seed, mirror, early_exit=True, fault_around=4, workers=1 + seed % 2)


def huge_storm(seed: int, mirror: str) -> World:
    """2-MiB leaves are mapped, split, collapsed and torn while the device uses them."""

    async def main(w: World) -> None:
        span = 1024
        mm = MmStruct(w.phys, thp=True)
        await mm.mmap(BASE, span * PAGE, RW, ANON_FIXED)
        pasid = await w.attach(mm)
        assert await w.work(Work.WRITE, pasid, [BASE, BASE + HUGE]) == [OK, OK]

        async def collapse() -> None:
            for _ in range(6):
                await collapse_huge_page(mm, BASE + w.rng.randrange(2) * HUGE)
                await point("khugepaged")

        ts = [w.spawn(use(w, pasid, span, 6), "use"), w.spawn(collapse(), "collapse")]
        ts += [w.spawn(change(w, mm, span, 5, 600), f"app{i}") for i in range(2)]
        for t in ts:
            await t.join()
        await mm.exit()
        await w.detach(pasid)
        assert is_freed(mm)

    w = World(seed, mirror, frames=6144, capacity=32)
    w.run(main)
    return w


@pytest.mark.parametrize("mirror", MIRRORS)
@pytest.mark.parametrize("seed", range(6))
def test_storm_on_huge_pages(mirror: str, seed: int) -> None:
    assert huge_storm(seed, mirror).drv.stats["huge_fills"]


def test_two_processes() -> None:
    """Two address spaces with the same addresses never see each other's pages."""

    async def main(w: World) -> None:
        span = 16
        mms, ts = [], []
        for _ in range(2):
            mm = MmStruct(w.phys)
            await mm.mmap(BASE, span * PAGE, RW, ANON_FIXED)
            pasid = await w.attach(mm)
            mms.append((mm, pasid))
            ts += [w.spawn(use(w, pasid, span, 5), "use"), w.spawn(change(w, mm, span, 8), "app")]
        for t in ts:
            await t.join()
        for mm, pasid in mms:
            await mm.exit()
            await w.detach(pasid)
            assert is_freed(mm)

    for seed in range(4):
        World(seed, "interval", fault_around=4).run(main)


# ---- the check has teeth: bugs of real drivers, put back ---------------------------------------------------


def _caught(mirror: str, seeds: range, **options: Any) -> bool:
    for seed in seeds:
        try:
            storm(seed, mirror, **options)
        except (Stale, KernelBug):
            return True
    return False


def test_missing_retry_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: Any, cl: Any) -> bool:
        return False

    monkeypatch.setattr(drv_mod._Interval, "retry", never)
    assert _caught("interval", range(40))


def test_not_waiting_for_completion_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(self: Any) -> None:
        return None

    monkeypatch.setattr(drv_mod._Completion, "wait", at_once)
    assert _caught("interval", range(40))


@pytest.mark.parametrize("mirror", MIRRORS)
@pytest.mark.parametrize("forget", [False, True])
def test_second_invalidation_waits_for_the_first(
    mirror: str, forget: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is granted any more, but accesses that used it are still in flight: both have to wait.

    With `forget` the driver does not remember invalidations that have not completed, and the test sees it.
    """

    class Forget(list):
        def __iter__(self) -> Any:
            return iter(())

    early: list[int] = []

    async def main(w: World) -> None:
        mm = MmStruct(w.phys)
        await mm.mmap(BASE, PAGE, RW, ANON_FIXED)
        pasid = await w.attach(mm)
        if forget:
            w.drv.attachments[pasid].pending = Forget()
        assert await w.work(Work.WRITE, pasid, pages(0, 1)) == [OK]
        steps, hold = w.dev.steps, [True]

        def held() -> list[Any]:
            return [s for s in steps() if s[0] != "respond" or not hold[0]]

        w.dev.steps = held  # type: ignore[method-assign]
        access = w.spawn(w.work(Work.WRITE, pasid, pages(0, 1)), "access")
        while not w.dev.inflight:
            await point("main")

        async def invalidate() -> None:
            r = MmuNotifierRange(mm, BASE, BASE + PAGE, MmuNotifyEvent.CLEAR)
            await mmu_notifier_invalidate_range_start(r)
            early.append(len(w.dev.inflight))
            await mmu_notifier_invalidate_range_end(r)

        both = [w.spawn(invalidate(), f"inv{i}") for i in range(2)]
        for _ in range(300):
            await point("main")
        hold[0] = False
        w.dev._work_wq.wake_all()
        for t in (*both, access):
            await t.join()
        await mm.exit()
        await w.detach(pasid)

    World(9, mirror).run(main)
    assert any(early) == forget


def test_flushing_faults_under_mmap_lock_is_reported() -> None:
    """The fault worker takes mmap_lock: reported although no fault is being serviced."""

    async def main(w: World) -> None:
        mm = MmStruct(w.phys)
        await mm.mmap(BASE, PAGE, RW, ANON_FIXED)
        pasid = await w.attach(mm)
        assert await w.work(Work.WRITE, pasid, pages(0, 1)) == [OK]
        async with mm.mmap_lock.read():
            await w.drv.flush_faults()

    text = "main takes fault work holding mm.mmap_lock; svm-fault took mm.mmap_lock holding fault work"
    with pytest.raises(KernelBug, match=text):
        World(3, "interval").run(main)
