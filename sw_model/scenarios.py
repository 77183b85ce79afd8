"""Scenarios and a benchmark for a device behind any Transport: a card, the functional model, the RTL.

A scenario knows the transport and nothing of what is behind it. Where no oracle can watch the bus, it looks
at memory: frames that the device had to let go are given to somebody else, whose bytes must not change.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sw_model.device_interface import DONE, WORK, Reg, Work, WorkStatus
from sw_model.driver import SvmDriver
from sw_model.engine import Engine
from sw_model.migrate import migrate_range
from sw_model.mm import MmStruct
from sw_model.pagetable import PAGE_SIZE as PAGE
from sw_model.phys import PhysMem
from sw_model.sched import Scheduler, WaitQueue
from sw_model.transport import Transport, read_counters
from sw_model.vma import (
    MADV_DONTNEED,
    MADV_PAGEOUT,
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_PRIVATE,
    PROT_NONE,
    PROT_READ,
    PROT_WRITE,
)

BASE = 0x1000_0000
RW = PROT_READ | PROT_WRITE
OK, SLVERR, DECERR, BAD = (
    int(s) for s in (WorkStatus.OK, WorkStatus.SLVERR, WorkStatus.DECERR, WorkStatus.BAD_DESCRIPTOR)
)
BATCH = 16
TAG = 0xD1CE


class Failed(Exception):
    """A scenario saw what must not be."""


def expect(ok: object, text: str) -> None:
    """Raises Failed with `text` unless `ok`."""
    if not ok:
        raise Failed(text)


def fold(data: bytes) -> int:
    """What a READ of these bytes completes with: byte k shifted left by 8*(k mod 8), XORed."""
    words = np.frombuffer(data + bytes(-len(data) % 8), "<u8")
    return int(np.bitwise_xor.reduce(words))


@dataclass
class Process:
    """A process attached to the device."""

    mm: MmStruct
    pasid: int

    async def map(self, pages: int, at: int = BASE) -> int:
        """Anonymous private memory at a fixed address; the address."""
        return await self.mm.mmap(at, pages * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)


class Rig:
    """Driver and engine of one device, and the host's memory management in the transport's memory.

    `rounds`: how often a scenario repeats itself. `progress` is called once a round.
    """

    def __init__(
        self,
        transport: Transport,
        sched: Scheduler,
        seed: int = 1,
        *,
        mirror: str = "interval",
        rounds: int = 2,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        self.transport = transport
        self.sched = sched
        self.rng = random.Random(seed)
        self.rounds = rounds
        self.progress = progress
        self.phys = PhysMem(transport.memory, seed=seed)
        self.driver = SvmDriver(transport, self.phys, sched, mirror)
        self.engine = Engine(transport, self.phys, sched)
        self.counters: dict[str, int] = {}

    def run(self, main: Callable[[Rig], Awaitable[Any]], idle: Callable[[int | None], bool]) -> None:
        """Run `main` to its end; raises what it raises, and what a thread raises that nobody joins."""
        self.spawn(main)
        try:
            self.sched.run(idle=idle)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """End what a failure left behind."""
        for t in self.sched.threads:
            with contextlib.suppress(Exception):
                t.coro.close()

    def spawn(self, main: Callable[[Rig], Awaitable[Any]]) -> None:
        """Make the thread that probes, runs `main`, removes the driver and checks that nothing is left."""
        self.sched.spawn(self._whole(main), "board")

    async def _whole(self, main: Callable[[Rig], Awaitable[Any]]) -> None:
        await self.driver.probe()
        await self.engine.probe()
        await main(self)
        self.counters = await read_counters(self.transport)
        await self.engine.stop()
        await self.driver.remove()
        expect(not self.driver.command_errors, f"malformed commands: {self.driver.command_errors}")
        expect(not self.phys.check_balance(), f"references: {self.phys.check_balance()}")

    async def process(self, name: str = "program") -> Process:
        """A new process, attached."""
        mm = MmStruct(self.phys, name)
        return Process(mm, await self.driver.attach(mm))

    async def end(self, *processes: Process) -> None:
        """Detach processes, then let them exit."""
        for p in processes:
            await self.driver.detach(p.pasid)
            await p.mm.exit()

    async def work(
        self, op: Work, pasid: int, va: Any, n: Any = 8, data: Any = 0, src: Any = 0
    ) -> list[dict[str, int]]:
        """Run descriptors, one for each `va`; their completions."""
        va = np.atleast_1d(np.asarray(va, np.uint64))
        ops = np.full(len(va), int(op), np.uint64)
        rows = WORK.pack(op=ops, pasid=pasid, va=va, len=n, data=data, src=src)
        return [DONE.unpack(row) for row in await self.engine.run(rows)]

    async def statuses(self, *args: Any, **kw: Any) -> list[int]:
        """As `work`; only the statuses."""
        return [d["status"] for d in await self.work(*args, **kw)]


class Traffic:
    """Accesses of 8 bytes at random places of a region, batch after batch, until stopped.

    Writes carry their page and a count, so that `check` can tell them from anything else; with `content`
    it reads instead, and every byte must be what `content` says. Statuses other than OK are in `allowed`.
    """

    def __init__(
        self, rig: Rig, p: Process, at: int, pages: int, allowed: Sequence[int] = (), content: bytes = b""
    ) -> None:
        self.rig, self.p, self.at, self.pages = rig, p, at, pages
        self.allowed = {OK, *allowed}
        self.content = content
        self.seen: dict[int, int] = {}
        self._rng = random.Random(rig.rng.random())
        self._batches = 0
        self._stop = False
        self._wq = WaitQueue("traffic")
        self._thread = rig.sched.spawn(self._run(), f"traffic of PASID {p.pasid}")

    async def _run(self) -> None:
        while not self._stop:
            offsets = np.array(
                [8 * self._rng.randrange(self.pages * PAGE // 8) for _ in range(BATCH)], np.uint64
            )
            op = Work.READ if self.content else Work.WRITE
            data = np.uint64(TAG << 48 | (self._batches & 0xFFFF)) | offsets // np.uint64(PAGE) << np.uint64(
                16
            )
            done = await self.rig.work(op, self.p.pasid, np.uint64(self.at) + offsets, data=data)
            for d, offset in zip(done, offsets.tolist(), strict=True):
                self._check_one(d, offset)
            self._batches += 1
            self._wq.wake_all()

    def _check_one(self, done: dict[str, int], offset: int) -> None:
        status = done["status"]
        self.seen[status] = self.seen.get(status, 0) + 1
        expect(status in self.allowed, f"access at {self.at + offset:#x} ended with status {status}")
        if status == OK and self.content:
            want = int.from_bytes(self.content[offset : offset + 8], "little")
            expect(
                done["data"] == want, f"read at {self.at + offset:#x} gave {done['data']:#x}, not {want:#x}"
            )

    async def more(self, batches: int = 2) -> None:
        """Wait for `batches` more; all but the first were posted after this call."""
        end = self._batches + batches
        await self._wq.wait(lambda: self._batches >= end or self._thread.done)

    async def stop(self) -> None:
        """End after the batch under way; raises what the traffic found."""
        self._stop = True
        await self._thread.join()

    async def check(self) -> None:
        """Raises Failed when the region holds anything but zeros and what was written to that page."""
        data = await self.p.mm.load(self.at, self.pages * PAGE)
        words = np.frombuffer(data, "<u8").reshape(self.pages, -1)
        page = np.arange(self.pages, dtype=np.uint64)[:, None]
        bad = (words != 0) & (words >> np.uint64(16) != np.uint64(TAG << 32) | page)
        expect(not bad.any(), f"{int(bad.sum())} words of the process were written by nobody")


class Canary:
    """Another process that takes the frames which were just let go, and watches its bytes."""

    def __init__(self, rig: Rig, p: Process, pages: int) -> None:
        self.rig, self.p, self.pages = rig, p, pages
        self.bytes = b""

    async def take(self) -> None:
        """Map and fill."""
        await self.p.map(self.pages)
        self.bytes = self.rig.rng.randbytes(self.pages * PAGE)
        await self.p.mm.store(BASE, self.bytes)

    async def give(self) -> None:
        """Compare and unmap."""
        got = await self.p.mm.load(BASE, len(self.bytes))
        n = sum(a != b for a, b in zip(got, self.bytes, strict=True))
        expect(not n, f"{n} bytes of another process changed: the device used memory it had to let go")
        await self.p.mm.munmap(BASE, len(self.bytes))


Figures = dict[str, Any]
Run = Callable[[Rig], Coroutine[Any, Any, Figures | None]]


@dataclass(frozen=True)
class Scenario:
    """A named run."""

    name: str
    about: str
    run: Run


SCENARIOS: dict[str, Scenario] = {}


def scenario(about: str) -> Callable[[Run], Run]:
    """Register a scenario under its function's name."""

    def add(run: Run) -> Run:
        SCENARIOS[run.__name__] = Scenario(run.__name__, about, run)
        return run

    return add


@scenario("identity, capabilities, and a register that keeps what is written")
async def probe(rig: Rig) -> Figures:
    """Registers alone."""
    t = rig.transport
    cap0, cap1 = await t.read_reg(Reg.CAP0), await t.read_reg(Reg.CAP1)
    for value in (0xA55A, 0x5AA5, rig.engine.holdoff):
        await t.write_reg(Reg.DONE_HOLDOFF, value)
        got = await t.read_reg(Reg.DONE_HOLDOFF)
        expect(got == value, f"DONE_HOLDOFF reads {got:#x} after {value:#x} was written")
    return {
        "sets": 1 << (cap0 & 0xFF), "ways": cap0 >> 8 & 0xFF, "fault_identifiers": cap0 >> 16 & 0xFF,
        "data_bits": 8 << (cap1 & 0xFF), "bus_address_bits": cap1 >> 16 & 0xFF, "pasids": cap1 >> 24,
    }  # fmt: skip


@scenario("read, write, fill, copy and compare-and-swap in the memory of a process")
async def share(rig: Rig) -> Figures:
    """CPU and device see the same bytes. A host without AtomicOps refuses the compare-and-swap."""
    p = await rig.process()
    at = await p.map(16)
    swaps = True
    for _ in range(rig.rounds):
        data = rig.rng.randbytes(3 * PAGE)
        await p.mm.store(at + 100, data)
        (d,) = await rig.work(Work.READ, p.pasid, at + 100, len(data))
        expect((d["status"], d["data"]) == (OK, fold(data)), "a read over page borders gave other bytes")
        (d,) = await rig.work(Work.COPY, p.pasid, at + 8 * PAGE + 100, len(data), src=at + 100)
        expect(d["status"] == OK and await p.mm.load(at + 8 * PAGE + 100, len(data)) == data, "copy differs")
        (d,) = await rig.work(Work.WRITE, p.pasid, at + 5, 3, data=0x332211)
        expect(await p.mm.load(at + 4, 5) == bytes((0, 0x11, 0x22, 0x33, 0)), "write of 3 bytes differs")
        await p.mm.store(at + 4, bytes(5))
        if swaps:
            swaps = await _swap(rig, p, at + 64)
        (d,) = await rig.work(Work.FILL, p.pasid, at + 50, 2 * PAGE, data=0x0807060504030201)
        expect(await p.mm.load(at + 50, 2 * PAGE) == bytes(range(1, 9)) * (PAGE // 4), "fill differs")
        await p.mm.store(at, bytes(100))
        rig.progress()
    await rig.end(p)
    return {"compare-and-swap": "done" if swaps else "refused by the host"}


async def _swap(rig: Rig, p: Process, va: int) -> bool:
    """A compare-and-swap that fits, then one that does not; False when the host refuses AtomicOps."""
    old = rig.rng.getrandbits(64)
    await p.mm.store(va, old.to_bytes(8, "little"))
    for found in (old, 7):
        (d,) = await rig.work(Work.CAS, p.pasid, va, src=old, data=7)
        if d["status"] == SLVERR:
            expect(
                int.from_bytes(await p.mm.load(va, 8), "little") == found, "a refused AtomicOp changed memory"
            )
            return False
        expect((d["status"], d["data"]) == (OK, found), "compare-and-swap found another value")
        expect(await p.mm.load(va, 8) == (7).to_bytes(8, "little"), "compare-and-swap stored another value")
    return True


@scenario("accesses that must end with an error, each for its reason")
async def faults(rig: Rig) -> None:
    """Nothing mapped, no permission, foreign PASID, a bad descriptor, a process that has gone."""
    p = await rig.process()
    pages = np.uint64(BASE) + np.arange(5, dtype=np.uint64) * np.uint64(PAGE)
    for _ in range(rig.rounds):
        await p.map(4)
        await p.mm.mprotect(BASE + 2 * PAGE, PAGE, PROT_READ)
        await p.mm.mprotect(BASE + 3 * PAGE, PAGE, PROT_NONE)
        got = await rig.statuses(Work.WRITE, p.pasid, pages)
        expect(got == [OK, OK, SLVERR, SLVERR, SLVERR], f"writes ended with {got}")
        got = await rig.statuses(Work.READ, p.pasid, pages)
        expect(got == [OK, OK, OK, SLVERR, SLVERR], f"reads ended with {got}")
        got = await rig.statuses(Work.READ, p.pasid + 1, pages[:1])
        expect(got == [DECERR], f"an access of a PASID that is not attached ended with {got}")
        got = await rig.statuses(Work.READ, p.pasid, pages[:1], 0)
        expect(got == [BAD], f"a descriptor of length 0 ended with {got}")
        await p.mm.munmap(BASE, 4 * PAGE)
        rig.progress()
    await p.map(1)
    await p.mm.exit()
    got = await rig.statuses(Work.READ, p.pasid, pages[:1])
    expect(got == [DECERR], f"an access to a process that has gone ended with {got}")
    await rig.driver.detach(p.pasid)


async def _let_go(
    rig: Rig, take_away: Callable[[Process], Awaitable[None]], allowed: Sequence[int]
) -> Figures:
    """Device writes while half of their pages are taken away; their frames go to another process."""
    p, q = await rig.process(), await rig.process("canary")
    await p.map(8)
    traffic = Traffic(rig, p, BASE, 8, allowed)
    canary = Canary(rig, q, 4)
    for _ in range(rig.rounds):
        await traffic.more()
        await take_away(p)
        await canary.take()
        await traffic.more()
        await canary.give()
        await p.map(4)
        rig.progress()
    await traffic.stop()
    await traffic.check()
    await rig.end(p, q)
    return {"writes": traffic.seen.get(OK, 0), "errors": traffic.seen.get(SLVERR, 0)}


@scenario("munmap under device writes; the frames go to another process")
async def munmap(rig: Rig) -> Figures:
    """mmu_notifier event UNMAP."""
    return await _let_go(rig, lambda p: p.mm.munmap(BASE, 4 * PAGE), (SLVERR,))


@scenario("MADV_DONTNEED under device writes; the frames go to another process")
async def dontneed(rig: Rig) -> Figures:
    """mmu_notifier event CLEAR: the next access faults a zero page in."""
    return await _let_go(rig, lambda p: p.mm.madvise(BASE, 4 * PAGE, MADV_DONTNEED), ())


@scenario("mprotect to read-only under device writes; the bytes must stand still")
async def mprotect(rig: Rig) -> Figures:
    """mmu_notifier event PROTECTION_VMA."""
    p = await rig.process()
    await p.map(8)
    traffic = Traffic(rig, p, BASE, 8, (SLVERR,))
    for _ in range(rig.rounds):
        await traffic.more()
        await p.mm.mprotect(BASE, 4 * PAGE, PROT_READ)
        before = await p.mm.load(BASE, 4 * PAGE)
        await traffic.more()
        expect(await p.mm.load(BASE, 4 * PAGE) == before, "the device wrote to read-only memory")
        await p.mm.mprotect(BASE, 4 * PAGE, RW)
        rig.progress()
    await traffic.stop()
    await traffic.check()
    await rig.end(p)
    return {"writes": traffic.seen.get(OK, 0), "errors": traffic.seen.get(SLVERR, 0)}


@scenario("fork under device writes; the child's bytes must stand still")
async def fork(rig: Rig) -> Figures:
    """mmu_notifier event PROTECTION_PAGE, then copy-on-write by the device."""
    p = await rig.process()
    await p.map(8)
    traffic = Traffic(rig, p, BASE, 8)
    for _ in range(rig.rounds):
        await traffic.more()
        child = await p.mm.fork()
        before = await child.load(BASE, 8 * PAGE)
        await traffic.more()
        expect(await child.load(BASE, 8 * PAGE) == before, "a write for the parent shows in the child")
        await child.exit()
        rig.progress()
    await traffic.stop()
    await traffic.check()
    await rig.end(p)
    return {"writes": traffic.seen.get(OK, 0)}


@scenario("swap and migration under device reads; every read must give the process's bytes")
async def reclaim(rig: Rig) -> Figures:
    """Frames move while the device reads; canaries take the old ones."""
    p, q = await rig.process(), await rig.process("canary")
    await p.map(8)
    content = rig.rng.randbytes(8 * PAGE)
    await p.mm.store(BASE, content)
    traffic = Traffic(rig, p, BASE, 8, content=content)
    canary = Canary(rig, q, 8)
    for i in range(rig.rounds):
        await traffic.more()
        if i % 2:
            await p.mm.madvise(BASE, 8 * PAGE, MADV_PAGEOUT)
        else:
            await migrate_range(p.mm, BASE, BASE + 8 * PAGE)
        await canary.take()
        await traffic.more()
        await canary.give()
        rig.progress()
    await traffic.stop()
    expect(await p.mm.load(BASE, 8 * PAGE) == content, "the process's bytes changed")
    await rig.end(p, q)
    return {"reads": traffic.seen[OK]}


@scenario("several processes with the same addresses; one dies under traffic")
async def processes(rig: Rig) -> Figures:
    """PASIDs keep address spaces apart; exit ends accesses, not the device."""
    ps = [await rig.process(f"program{i}") for i in range(3)]
    traffics = []
    for i, p in enumerate(ps):
        await p.map(6)
        content = rig.rng.randbytes(6 * PAGE)
        await p.mm.store(BASE, content)
        traffics.append(Traffic(rig, p, BASE, 6, (DECERR,) if i == 0 else (), content))
    for _ in range(rig.rounds):
        for t in traffics:
            await t.more()
        rig.progress()
    await ps[0].mm.exit()
    canary = Canary(rig, await rig.process("canary"), 6)
    await canary.take()
    for t in traffics:
        await t.more()
    await canary.give()
    for t in traffics:
        await t.stop()
    await rig.driver.detach(ps[0].pasid)
    expect(traffics[0].seen.get(DECERR), "no access of the dead process ended with an error")
    await rig.end(*ps[1:], canary.p)
    return {"reads": sum(t.seen[OK] for t in traffics), "errors": traffics[0].seen[DECERR]}


class _Region:
    """Memory that one thread changes by turns, by CPU, device and system calls, beside a plain copy."""

    PAGES = 4

    def __init__(self, rig: Rig, p: Process, at: int) -> None:
        self.rig, self.p, self.at = rig, p, at
        self.rng = random.Random(rig.rng.random())
        self.copy = bytearray(self.PAGES * PAGE)
        self.operations = 0

    def _span(self, most: int) -> tuple[int, int]:
        n = self.rng.randint(1, most)
        return self.rng.randrange(len(self.copy) - n), n

    async def run(self, n: int) -> None:
        """`n` operations, then compare every byte."""
        await self.p.map(self.PAGES, self.at)
        kinds = (
            self._store, self._load, self._write, self._fill, self._read, self._copy, self._dontneed,
            self._protect, self._remap, self._fork, self._move,
        )  # fmt: skip
        for _ in range(n):
            await self.rng.choice(kinds)()
            self.operations += 1
            self.rig.progress()
        now = await self.p.mm.load(self.at, len(self.copy))
        bad = sum(a != b for a, b in zip(now, self.copy, strict=True))
        expect(not bad, f"{bad} bytes at {self.at:#x} of PASID {self.p.pasid} differ from the reference")

    async def _work(self, op: Work, offset: int, n: int, **kw: int) -> dict[str, int]:
        (done,) = await self.rig.work(op, self.p.pasid, self.at + offset, n, **kw)
        expect(done["status"] == OK, f"{op.name} at {self.at + offset:#x} ended with status {done['status']}")
        return done

    async def _store(self) -> None:
        a, n = self._span(PAGE)
        self.copy[a : a + n] = data = self.rng.randbytes(n)
        await self.p.mm.store(self.at + a, data)

    async def _load(self) -> None:
        a, n = self._span(PAGE)
        expect(await self.p.mm.load(self.at + a, n) == self.copy[a : a + n], "a load gave other bytes")

    async def _write(self) -> None:
        a, n = self._span(8)
        data = self.rng.randbytes(8)
        self.copy[a : a + n] = data[:n]
        await self._work(Work.WRITE, a, n, data=int.from_bytes(data, "little"))

    async def _fill(self) -> None:
        a, n = self._span(PAGE)
        data = self.rng.randbytes(8)
        self.copy[a : a + n] = (data * (n // 8 + 1))[:n]
        await self._work(Work.FILL, a, n, data=int.from_bytes(data, "little"))

    async def _read(self) -> None:
        a, n = self._span(2 * PAGE)
        done = await self._work(Work.READ, a, n)
        expect(
            done["data"] == fold(bytes(self.copy[a : a + n])), f"a read at {self.at + a:#x} gave other bytes"
        )

    async def _copy(self) -> None:
        half = len(self.copy) // 2
        n = self.rng.randint(1, PAGE)
        a = self.rng.randrange(half - n)
        self.copy[half + a : half + a + n] = self.copy[a : a + n]
        await self._work(Work.COPY, half + a, n, src=self.at + a)

    async def _dontneed(self) -> None:
        page = self.rng.randrange(self.PAGES) * PAGE
        self.copy[page : page + PAGE] = bytes(PAGE)
        await self.p.mm.madvise(self.at + page, PAGE, MADV_DONTNEED)

    async def _protect(self) -> None:
        page = self.rng.randrange(self.PAGES) * PAGE
        await self.p.mm.mprotect(self.at + page, PAGE, PROT_READ)
        (status,) = await self.rig.statuses(Work.WRITE, self.p.pasid, self.at + page, data=1)
        expect(status == SLVERR, f"a write to read-only memory ended with status {status}")
        await self.p.mm.mprotect(self.at + page, PAGE, RW)

    async def _remap(self) -> None:
        page = self.rng.randrange(self.PAGES) * PAGE
        self.copy[page : page + PAGE] = bytes(PAGE)
        await self.p.mm.munmap(self.at + page, PAGE)
        (status,) = await self.rig.statuses(Work.READ, self.p.pasid, self.at + page)
        expect(status == SLVERR, f"a read of nothing ended with status {status}")
        await self.p.map(1, self.at + page)

    async def _fork(self) -> None:
        child = await self.p.mm.fork()
        before = bytes(self.copy)
        await self._fill()
        expect(await child.load(self.at, len(before)) == before, "the child sees a later write of the parent")
        await child.exit()

    async def _move(self) -> None:
        if self.rng.randrange(2):
            await self.p.mm.madvise(self.at, len(self.copy), MADV_PAGEOUT)
        else:
            await migrate_range(self.p.mm, self.at, self.at + len(self.copy))


@scenario("seeded mix of CPU, device and system calls on several threads; final compare of every byte")
async def mix(rig: Rig) -> Figures:
    """Two processes, two threads each."""
    ps = [await rig.process(f"program{i}") for i in range(2)]
    regions = [_Region(rig, p, BASE + k * 64 * PAGE) for p in ps for k in range(2)]
    threads = [rig.sched.spawn(r.run(8 * rig.rounds), f"region{i}") for i, r in enumerate(regions)]
    for t in threads:
        await t.join()
    await rig.end(*ps)
    return {"operations": sum(r.operations for r in regions)}


# ---- benchmark ---------------------------------------------------------------------------------------------


def _span(done: Sequence[dict[str, int]]) -> int:
    """Device cycles from the first start to the last end."""
    first = done[0]["start"]
    starts = [(d["start"] - first + (1 << 31)) & 0xFFFFFFFF for d in done]
    ends = [(d["cycle"] - first + (1 << 31)) & 0xFFFFFFFF for d in done]
    return max(1, max(ends) - min(starts))


def _cycles(d: dict[str, int]) -> int:
    return (d["cycle"] - d["start"]) & 0xFFFFFFFF


def _middle(values: Sequence[int]) -> int:
    return sorted(values)[len(values) // 2]


async def bench(rig: Rig) -> Figures:
    """Latencies in device cycles and throughput in bytes a cycle; host latencies by the host's clock."""
    t, n = rig.transport, 8 * rig.rounds
    p = await rig.process()
    pages = 32
    await p.map(2 * pages)
    await p.mm.store(BASE, rig.rng.randbytes(2 * pages * PAGE))
    out: Figures = {}
    took = []
    for _ in range(n):
        start = t.now()
        await t.read_reg(Reg.ID)
        took.append(t.now() - start)
    out["register_read_host_cycles"] = _middle(took)
    cold = [d for i in range(pages) for d in await rig.work(Work.READ, p.pasid, BASE + i * PAGE, 64)]
    out["fault_cycles"] = _middle([_cycles(d) for d in cold])
    warm, took = [], []
    for i in range(n):
        start = t.now()
        warm += await rig.work(Work.READ, p.pasid, BASE + i % pages * PAGE, 64)
        took.append(t.now() - start)
    out["hit_64B_cycles"] = _middle([_cycles(d) for d in warm])
    out["hit_64B_host_cycles"] = _middle(took)
    first = np.uint64(BASE) + np.arange(pages, dtype=np.uint64) * np.uint64(PAGE)
    second = first + np.uint64(pages * PAGE)
    await rig.work(Work.WRITE, p.pasid, second)
    for op in (Work.READ, Work.FILL, Work.COPY):
        for size in (64, 256, PAGE):
            va = np.tile(second, max(1, n // pages))
            src = np.tile(first, max(1, n // pages)) if op == Work.COPY else 0
            done = await rig.work(op, p.pasid, va, size, src=src)
            expect(all(d["status"] == OK for d in done), f"{op.name} of {size} bytes failed")
            out[f"{op.name.lower()}_{size}B_bytes_per_cycle"] = round(size * len(done) / _span(done), 3)
            rig.progress()
    rig.driver.latency["invalidate"].clear()
    for i in range(pages):
        await p.mm.munmap(BASE + i * PAGE, PAGE)
    out["invalidate_host_cycles"] = _middle([b - a for a, b in rig.driver.latency["invalidate"]])
    await rig.end(p)
    return out


BENCH = Scenario("bench", "latency and throughput", bench)


# ---- runs --------------------------------------------------------------------------------------------------


@dataclass
class Result:
    """How one scenario ended."""

    name: str
    ok: bool
    seconds: float
    figures: Figures = field(default_factory=dict)
    error: str = ""


class Plan:
    """Scenarios, one after the other; a failure ends the run, as the device may be in any state then.

    `results` has one entry for each scenario that was started. `on_start(scenario)`, `on_end(result)`.
    """

    def __init__(
        self,
        scenarios: Sequence[Scenario],
        on_start: Callable[[Scenario], None] = lambda s: None,
        on_end: Callable[[Result], None] = lambda r: None,
    ) -> None:
        self.scenarios = scenarios
        self.results: list[Result] = []
        self.on_start, self.on_end = on_start, on_end

    async def run(self, rig: Rig) -> None:
        """Run them in this thread; raises what a scenario raises."""
        for s in self.scenarios:
            self.on_start(s)
            start = time.perf_counter()
            self.results.append(Result(s.name, False, 0.0))
            figures = await s.run(rig)
            self.results[-1] = Result(s.name, True, time.perf_counter() - start, figures or {})
            self.on_end(self.results[-1])

    def fail(self, error: BaseException) -> None:
        """The run ended with `error`, in the scenario that was under way or outside of any."""
        text = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, (Failed, OSError)):
            text = f"{type(error).__name__}: {text}"
        if not self.results or self.results[-1].ok:
            self.results.append(Result("run", False, 0.0))
        self.results[-1].error = text
        self.on_end(self.results[-1])

    @property
    def ok(self) -> bool:
        """True when every scenario has passed."""
        return len(self.results) == len(self.scenarios) and all(r.ok for r in self.results)


def chosen(names: Sequence[str]) -> list[Scenario]:
    """Scenarios by name; all, and the benchmark, for none. Raises KeyError."""
    known = {**SCENARIOS, BENCH.name: BENCH}
    return [known[n] for n in names] if names else list(known.values())
