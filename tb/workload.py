"""Replay a trace: CPU and device take turns on a recorded program's accesses, under memory pressure.

The address space is rebuilt from the recorded calls at the recorded addresses. Stored data is seeded
and does not depend on loaded data, so what every load must return follows from the trace and the seed
alone: `Reference` works it out in program order, a window of accesses at a time. Every load, by CPU or
device, is compared with it, and at the end every mapped byte is.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sw_model import device_interface as dev
from sw_model import ksm, migrate, mm_ops, reclaim, thp
from sw_model.filemap import File
from sw_model.pagetable import HPAGE, PteKind
from sw_model.pagetable import PAGE_SHIFT as SHIFT
from sw_model.pagetable import PAGE_SIZE as PAGE
from sw_model.sched import Scheduler, WaitQueue, point, sleep
from sw_model.vma import (
    MADV_DONTNEED,
    MADV_HUGEPAGE,
    MADV_NOHUGEPAGE,
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_PRIVATE,
    MAP_SHARED,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    PROT_READ,
    PROT_WRITE,
)
from tb.trace import Call, Kind, Trace, TraceError

U64 = (1 << 64) - 1

# What moves bytes: one row per load or store; a modify is a load and a store.
OP = np.dtype(
    [("addr", "<u8"), ("size", "<u4"), ("store", "?"), ("data", "<u8"), ("access", "<u8"), ("pair", "?")]
)


@dataclass
class Pressure:
    """Events per 1000 accesses, each at a seeded moment and page.

    swap: swap a page out; migrate: move it to another frame; collapse: make a huge page of 512;
    split: the reverse; protect: write-protect as KSM does; numa: a NUMA hint; dontneed: discard a page.
    """

    swap: float = 0.0
    migrate: float = 0.0
    collapse: float = 0.0
    split: float = 0.0
    protect: float = 0.0
    numa: float = 0.0
    dontneed: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Pressure:
        """A level from 0 (none) to 4, or `swap=1,migrate=0.5`. Raises ValueError."""
        if re.fullmatch(r"[0-4]", text):
            scale = (0, 1, 3, 8, 20)[int(text)]
            return cls(*(scale * r for r in (1.0, 1.5, 0.1, 0.1, 1.0, 0.3, 0.2)))
        out = cls()
        names = {f.name for f in fields(cls)}
        for item in text.split(","):
            m = re.fullmatch(r"\s*(\w+)\s*=\s*([0-9.]+)\s*", item)
            if not m or m[1] not in names:
                raise ValueError(f"pressure {item!r}: want 0 to 4, or {'|'.join(sorted(names))}=RATE,...")
            setattr(out, m[1], float(m[2]))
        return out


class Source(NamedTuple):
    """What a page of a mapping holds before its first store; None data means zeros."""

    data: bytes | None
    start: int  # address at which data[0] is mapped
    shared: bool
    prot: int


class Reference:
    """A plain memory: regions and pages, no page table, no frames."""

    def __init__(self) -> None:
        self.regions: list[tuple[int, int, Source]] = []  # sorted, disjoint
        self.rows: dict[int, int] = {}  # virtual page number -> row of `pages`
        self.pages = np.zeros((256, PAGE), dtype=np.uint8)
        self.free: list[int] = list(range(255, -1, -1))

    def map(self, start: int, end: int, source: Source) -> None:
        """Map [start, end); what was there is gone."""
        self.unmap(start, end)
        self.regions.append((start, end, source))
        self.regions.sort(key=lambda r: r[0])

    def _carve(self, start: int, end: int) -> list[tuple[int, int, Source]]:
        inside, rest = [], []
        for a, b, s in self.regions:
            if b <= start or a >= end:
                rest.append((a, b, s))
                continue
            if a < start:
                rest.append((a, start, s))
            if b > end:
                rest.append((end, b, s))
            inside.append((max(a, start), min(b, end), s))
        self.regions = sorted(rest, key=lambda r: r[0])
        return inside

    def unmap(self, start: int, end: int) -> None:
        """Unmap [start, end)."""
        self._carve(start, end)
        self.drop(start, end)

    def drop(self, start: int, end: int) -> None:
        """Forget what was stored in [start, end): pages read as their source again."""
        a, b = start >> SHIFT, end >> SHIFT
        gone = [v for v in self.rows if a <= v < b] if b - a > len(self.rows) else range(a, b)
        for v in gone:
            row = self.rows.pop(v, None)
            if row is not None:
                self.free.append(row)

    def protect(self, start: int, end: int, prot: int) -> None:
        """mprotect: only the protection changes."""
        self.regions += [(a, b, s._replace(prot=prot)) for a, b, s in self._carve(start, end)]
        self.regions.sort(key=lambda r: r[0])

    def discard(self, start: int, end: int) -> None:
        """MADV_DONTNEED: private mappings lose their stores."""
        for a, b, s in self.regions:
            if not s.shared and a < end and b > start:
                self.drop(max(a, start), min(b, end))

    def move(self, old: int, old_end: int, new: int, new_end: int) -> None:
        """mremap: pages move along, the tail of a longer mapping is fresh."""
        keep = min(old_end - old, new_end - new)
        inside = self._carve(old, old_end)
        saved = {v: self.rows.pop(v) for v in sorted(self.rows) if old >> SHIFT <= v < (old + keep) >> SHIFT}
        self.drop(old + keep, old_end)
        self.unmap(new, new_end)
        first = inside[0][2]
        for a, b, s in inside:
            if a < old + keep:
                moved = s._replace(start=s.start + new - old)
                self.regions.append((a + new - old, min(b, old + keep) + new - old, moved))
        if new_end > new + keep:
            self.regions.append((new + keep, new_end, first._replace(start=first.start + new - old)))
        self.regions.sort(key=lambda r: r[0])
        for v, row in saved.items():
            self.rows[v + ((new - old) >> SHIFT)] = row

    def region(self, addr: int) -> tuple[int, int, Source] | None:
        """The region that holds an address."""
        for r in self.regions:
            if r[0] <= addr < r[1]:
                return r
        return None

    def initial_page(self, vpn: int) -> bytes | None:
        """What a page holds before its first store (None: zeros). Raises KeyError when unmapped."""
        r = self.region(vpn << SHIFT)
        if r is None:
            raise KeyError(vpn)
        s = r[2]
        if s.data is None:
            return None
        off = (vpn << SHIFT) - s.start
        return s.data[off : off + PAGE].ljust(PAGE, b"\0")

    def row_of(self, vpns: NDArray) -> NDArray[np.int64]:
        """Rows of pages, made from their source on first use. Raises KeyError when unmapped."""
        out = np.empty(len(vpns), dtype=np.int64)
        for i, v in enumerate(vpns.tolist()):
            row = self.rows.get(v)
            if row is None:
                data = self.initial_page(v)
                if not self.free:
                    n = len(self.pages)
                    self.pages = np.concatenate([self.pages, np.zeros((n, PAGE), np.uint8)])
                    self.free = list(range(2 * n - 1, n - 1, -1))
                row = self.rows[v] = self.free.pop()
                self.pages[row] = 0 if data is None else np.frombuffer(data, np.uint8)
            out[i] = row
        return out

    def run(self, ops: NDArray) -> NDArray[np.uint64]:
        """Apply operations (dtype OP) in order; the fold each load must return (0 for stores).

        The fold is the XOR of byte k shifted left by 8*(k mod 8). Raises KeyError for an unmapped page.
        """
        n = len(ops)
        size = ops["size"].astype(np.int64)
        starts = np.cumsum(size) - size
        total = int(size.sum())
        which = np.repeat(np.arange(n), size)
        k = np.arange(total) - np.repeat(starts, size)
        addr = np.repeat(ops["addr"].astype(np.int64), size) + k
        shift = ((k & 7) * 8).astype(np.uint64)
        store = ops["store"][which]
        value = ((ops["data"][which] >> shift) & np.uint64(0xFF)).astype(np.uint8)

        vpns, inverse = np.unique(addr >> SHIFT, return_inverse=True)
        place = self.row_of(vpns)[inverse] * PAGE + (addr & (PAGE - 1))
        flat = self.pages.reshape(-1)

        order = np.argsort(addr, kind="stable")
        sorted_addr = addr[order]
        seen = np.where(store[order], np.arange(total), -1)
        new_byte = np.empty(total, dtype=bool)
        new_byte[0] = True
        np.not_equal(sorted_addr[1:], sorted_addr[:-1], out=new_byte[1:])
        first = np.maximum.accumulate(np.where(new_byte, np.arange(total), 0))
        last = np.maximum.accumulate(seen)
        stored = last >= first  # some store to this byte at or before this place
        old = flat[place]
        got = np.empty(total, dtype=np.uint8)
        got[order] = np.where(stored, value[order][np.maximum(last, 0)], old[order])
        fold = np.bitwise_xor.reduceat(got.astype(np.uint64) << shift, starts)
        end_byte = np.append(new_byte[1:], True) & stored
        flat[place[order][end_byte]] = got[order][end_byte]
        return np.where(ops["store"], np.uint64(0), fold)


def _page_align(n: int) -> int:
    """PAGE_ALIGN(): up to the next multiple of a page."""
    return -(-n // PAGE) * PAGE


def expand(acc: NDArray, first: int, rng: np.random.Generator) -> NDArray:
    """Accesses to operations (dtype OP) with seeded store data; `first` numbers the first access."""
    count = 1 + (acc["kind"] == Kind.MODIFY)
    which = np.repeat(np.arange(len(acc)), count)
    second = np.zeros(len(which), dtype=bool)
    second[1:] = which[1:] == which[:-1]
    ops = np.zeros(len(which), dtype=OP)
    ops["addr"] = acc["addr"][which]
    ops["size"] = acc["size"][which]
    ops["store"] = (acc["kind"][which] == Kind.STORE) | second
    ops["data"] = rng.integers(0, U64, len(which), dtype=np.uint64, endpoint=True)
    ops["access"] = which + first
    ops["pair"] = second
    return ops


@dataclass
class Stats:
    """What the replay did; counts."""

    accesses: int = 0
    device: dict[str, int] = field(default_factory=lambda: {"read": 0, "write": 0, "fill": 0, "cas": 0})
    cpu: dict[str, int] = field(default_factory=lambda: {"load": 0, "store": 0, "faults": 0})
    windows: dict[str, int] = field(default_factory=lambda: {"device": 0, "cpu": 0, "both": 0})
    calls: dict[str, int] = field(default_factory=dict)
    racing_calls: int = 0
    pressure: dict[str, int] = field(default_factory=dict)
    pages_compared: int = 0
    mismatches: int = 0
    errors: int = 0

    @classmethod
    def sum(cls, parts: Iterable[Stats]) -> Stats:
        """The counts of several replays together."""
        out = cls()
        for part in parts:
            for f in fields(cls):
                value = getattr(part, f.name)
                if isinstance(value, dict):
                    into = getattr(out, f.name)
                    for k, v in value.items():
                        into[k] = into.get(k, 0) + v
                else:
                    setattr(out, f.name, getattr(out, f.name) + value)
        return out


class _Batch(NamedTuple):
    """Descriptors under way: what they must return."""

    handle: Any
    want: NDArray
    check: NDArray
    access: NDArray
    va: NDArray
    pages: NDArray


class Workload:
    """One recorded process, replayed on an mm and a device.

    `engine` has `submit(rows)` and `wait(handle)` of sw_model.engine.Engine. `device_share` and
    `both_share` are the parts of windows that go to the device alone and to both at once.
    """

    def __init__(
        self,
        trace: Trace,
        mm: Any,
        engine: Any,
        pasid: int,
        sched: Scheduler,
        seed: int = 1,
        pressure: Pressure | None = None,
        limit: int | None = None,
        device_share: float = 0.7,
        both_share: float = 0.2,
        window: tuple[int, int] = (64, 2048),
        depth: int = 3,
        cpu_ns: int = 2,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.trace = trace
        self.mm = mm
        self.phys = mm.phys
        self.engine = engine
        self.pasid = pasid
        self.sched = sched
        self.rng = np.random.default_rng([seed, 1])
        self.files = np.random.default_rng([seed, 2])
        self.pressure = pressure or Pressure()
        self.limit = limit
        self.device_share = device_share
        self.both_share = both_share
        self.window = window
        self.depth = depth
        self.cpu_ns = cpu_ns
        self.progress = progress
        self.ref = Reference()
        self.stats = Stats()
        self.details: list[str] = []
        self.pending: deque[_Batch] = deque()
        self.touched: dict[int, None] = {}  # pages, oldest first
        self.hot: NDArray = np.empty(0, np.int64)
        self.brk_start = self.brk = 0
        self._backlog: deque[tuple[str, int, int]] = deque()
        self._kick = WaitQueue("pressure")
        self._stop = False
        self._tlb: dict[int, int] = {}
        self._tlb_generation = -1

    # ---- mismatches ----

    def _bad(self, text: str) -> None:
        self.stats.mismatches += 1
        if len(self.details) < 20:
            self.details.append(text)

    @property
    def ok(self) -> bool:
        """True when every load and every byte agreed so far."""
        return not self.stats.mismatches and not self.stats.errors

    # ---- the address space ----

    async def setup(self) -> None:
        """Map what existed before the first call. Raises TraceError when it cannot be mapped."""
        for r in self.trace.initial:
            await self._mmap(r.start, r.end - r.start, r.prot, MAP_PRIVATE | MAP_ANONYMOUS, False)
        start = int(self.trace.header.get("brk", 0))
        if start:
            self.mm.set_brk(start)
            self.brk_start = self.brk = start

    async def _mmap(self, addr: int, length: int, prot: int, flags: int, from_file: bool) -> None:
        end = addr + _page_align(length)
        shared = bool(flags & MAP_SHARED)
        kind = (MAP_SHARED if shared else MAP_PRIVATE) | MAP_FIXED
        data = None
        if from_file:
            data = self.files.bytes(end - addr)
            file = File(self.phys, data, name=f"file@{addr:x}")
            await self.mm.mmap(addr, end - addr, prot, kind, file, 0)
            await file.put()
        else:
            await self.mm.mmap(addr, end - addr, prot, kind | MAP_ANONYMOUS)
        self.ref.map(addr, end, Source(data, addr, shared, prot))

    async def call(self, c: Any) -> None:
        """One recorded call. Accesses under way to its range are waited for, others race with it."""
        kind = Call(int(c["kind"]))
        args = [int(a) for a in c["args"]]
        result = int(c["result"])
        self.stats.calls[kind.name.lower()] = self.stats.calls.get(kind.name.lower(), 0) + 1
        try:
            await getattr(self, f"_call_{kind.name.lower()}")(args, result)
        except OSError as e:
            shown = ", ".join(f"{a:#x}" for a in args)
            raise TraceError(f"{self.trace.path}: {kind.name.lower()}({shown}) = {result:#x}: {e}") from e

    async def _settle(self, *ranges: tuple[int, int]) -> None:
        clash = any(
            ((b.pages >= lo >> SHIFT) & (b.pages < -(-hi // PAGE))).any()
            for b in self.pending
            for lo, hi in ranges
        )
        if clash:
            await self.drain()
        elif self.pending:
            self.stats.racing_calls += 1

    async def _call_mmap(self, a: list[int], result: int) -> None:
        await self._settle((result, result + a[1]))
        fd = a[4] & 0xFFFFFFFF
        await self._mmap(result, a[1], a[2] & 7, a[3], not a[3] & MAP_ANONYMOUS and fd != 0xFFFFFFFF)

    async def _call_munmap(self, a: list[int], result: int) -> None:
        end = a[0] + _page_align(a[1])
        await self._settle((a[0], end))
        await self.compare(a[0], end)
        await self.mm.munmap(a[0], end - a[0])
        self.ref.unmap(a[0], end)

    async def _call_mprotect(self, a: list[int], result: int) -> None:
        end = a[0] + _page_align(a[1])
        await self._settle((a[0], end))
        await self.mm.mprotect(a[0], end - a[0], a[2] & 7)
        self.ref.protect(a[0], end, a[2] & 7)

    async def _call_brk(self, a: list[int], result: int) -> None:
        if not self.brk_start or result == self.brk:
            return
        old, new = _page_align(self.brk), _page_align(result)
        await self._settle((min(old, new), max(old, new)))
        if await self.mm.brk(result) != result:
            raise OSError("the break cannot move there")
        if new > old:
            self.ref.map(old, new, Source(None, old, False, PROT_READ | PROT_WRITE))
        else:
            self.ref.unmap(new, old)
        self.brk = result

    async def _call_mremap(self, a: list[int], result: int) -> None:
        old, old_len, new_len = a[0], _page_align(a[1]), _page_align(a[2])
        await self._settle((old, old + old_len), (result, result + new_len))
        if result == old:
            await self.mm.mremap(old, old_len, new_len, 0)
        else:
            await self.mm.mremap(old, old_len, new_len, MREMAP_MAYMOVE | MREMAP_FIXED, result)
        self.ref.move(old, old + old_len, result, result + new_len)

    async def _call_madvise(self, a: list[int], result: int) -> None:
        end = a[0] + _page_align(a[1])
        if a[2] in (MADV_HUGEPAGE, MADV_NOHUGEPAGE):
            await self.mm.madvise(a[0], end - a[0], a[2])
        elif a[2] == MADV_DONTNEED:
            await self._settle((a[0], end))
            await self.mm.madvise(a[0], end - a[0], MADV_DONTNEED)
            self.ref.discard(a[0], end)

    # ---- the device's turn ----

    def _rows(self, ops: NDArray, want: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """(descriptors, their operations, expected data, which of them return data) for operations."""
        n = len(ops)
        cas = np.zeros(n, dtype=bool)
        cas[1:] = ops["pair"][1:] & (ops["size"][1:] == 8) & (ops["addr"][1:] % 8 == 0)
        cas[1:] &= ops["access"][1:] == ops["access"][:-1]
        cas &= self.rng.random(n) < 0.5
        want = want.copy()
        want[1:][cas[1:]] = want[:-1][cas[1:]]  # the old value, which the load half returns
        keep = np.ones(n, dtype=bool)
        keep[:-1] = ~cas[1:]
        wide = ops["store"] & (ops["size"] > 8)
        op = np.where(ops["store"], dev.Work.WRITE, dev.Work.READ)
        op = np.where(wide, dev.Work.FILL, op)
        op = np.where(cas, dev.Work.CAS, op)
        ops, op, want, cas, wide = ops[keep], op[keep], want[keep], cas[keep], wide[keep]
        requester = np.repeat(self.rng.integers(0, 4, len(ops) // 16 + 1), 16)[: len(ops)]
        rows = dev.WORK.pack(
            op=op.astype(np.uint64),
            flags=int(dev.Flag.COMPLETE),
            pasid=self.pasid,
            len=ops["size"].astype(np.uint64),
            requester=requester.astype(np.uint64),
            va=ops["addr"],
            src=np.where(cas, want, np.uint64(0)),
            data=np.where(ops["store"], ops["data"], np.uint64(0)),
        )
        reads = ~ops["store"]
        counts = self.stats.device
        counts["read"] += int(reads.sum())
        counts["cas"] += int(cas.sum())
        counts["fill"] += int(wide.sum())
        counts["write"] += int((ops["store"] & ~cas & ~wide).sum())
        return rows, ops, want, reads | cas

    async def _submit(self, ops: NDArray, want: NDArray) -> None:
        if not len(ops):
            return
        rows, ops, expected, check = self._rows(ops, want)
        pages = _pages(ops)
        handle = await self.engine.submit(rows)
        self.pending.append(_Batch(handle, expected, check, ops["access"].copy(), ops["addr"].copy(), pages))

    async def _reap(self) -> None:
        b = self.pending[0]
        done = await self.engine.wait(b.handle)
        self.pending.popleft()
        status = dev.DONE.get(done, "STATUS")
        for i in np.flatnonzero(status)[:5].tolist():
            name = dev.WorkStatus(int(status[i])).name
            self._bad(f"access {b.access[i]}: device at {b.va[i]:#x} ended with {name}")
        self.stats.errors += int(np.count_nonzero(status))
        data = dev.DONE.get(done, "DATA")
        wrong = np.flatnonzero((data != b.want) & b.check & (status == 0))
        for i in wrong.tolist():
            where = f"access {b.access[i]}: device read {data[i]:#x} at {b.va[i]:#x}"
            self._bad(f"{where}, must be {b.want[i]:#x}")

    async def drain(self) -> None:
        """Wait for everything the device has been given."""
        while self.pending:
            await self._reap()

    # ---- the CPU's turn ----

    async def _cpu(self, ops: NDArray, want: NDArray) -> None:
        """The operations, one by one, through the process's page table."""
        mm, mv = self.mm, self.phys.mv
        loads = int(np.count_nonzero(~ops["store"]))
        self.stats.cpu["load"] += loads
        self.stats.cpu["store"] += len(ops) - loads
        columns = [ops[c].tolist() for c in ("addr", "size", "store", "data")]
        tlb = self._tlb
        for i, (addr, size, store, data, fold) in enumerate(zip(*columns, want.tolist(), strict=True)):
            if i & 127 == 127:
                await sleep(128 * self.cpu_ns)
            value = k = 0
            while k < size:
                va = addr + k
                off = va & (PAGE - 1)
                n = min(size - k, PAGE - off)
                if mm.generation != self._tlb_generation:
                    tlb.clear()
                    self._tlb_generation = mm.generation
                key = va >> SHIFT << 1 | store
                pfn = tlb.get(key, -1)
                if pfn < 0:
                    pfn = mm.translate_fast(va, store)
                    if pfn < 0:
                        self.stats.cpu["faults"] += 1
                        await mm.fault_in(va, store)
                        continue
                    if mm.generation == self._tlb_generation:
                        tlb[key] = pfn
                at = (pfn << SHIFT) + off
                if store:
                    mv[at : at + n] = _pattern(data, k, n)
                else:
                    value ^= _fold(mv[at : at + n], k)
                k += n
            if not store and value != fold:
                self._bad(f"access {ops['access'][i]}: CPU read {value:#x} at {addr:#x}, must be {fold:#x}")

    # ---- memory pressure ----

    def _plan_pressure(self, naccesses: int) -> list[int]:
        """Queue a window's events for the pressure thread; the pages to discard are returned."""
        pages = self.hot
        events: list[tuple[str, int]] = []
        dontneed: list[int] = []
        older = list(self.touched)
        for f in fields(self.pressure):
            for _ in range(int(self.rng.poisson(getattr(self.pressure, f.name) * naccesses / 1000))):
                pool = pages.tolist() if self.rng.random() < 0.7 else older
                vpn = pool[int(self.rng.integers(len(pool)))]
                if f.name == "dontneed":
                    dontneed.append(older[int(self.rng.integers(len(older)))])
                else:
                    events.append((f.name, vpn << SHIFT))
        if events and len(self._backlog) < 256:
            spacing = max(1, naccesses * 16 // (len(events) + 1))
            for i in self.rng.permutation(len(events)).tolist():
                self._backlog.append((*events[i], int(self.rng.integers(1, 2 * spacing + 1))))
            self._kick.wake_all()
        return dontneed

    async def _discard(self, vpns: list[int]) -> None:
        """madvise(MADV_DONTNEED) of pages that no access under way touches."""
        for vpn in vpns:
            r = self.ref.region(vpn << SHIFT)
            if r is None or r[2].shared or any((b.pages == vpn).any() for b in self.pending):
                continue
            await self.mm.madvise(vpn << SHIFT, PAGE, MADV_DONTNEED)
            self.ref.discard(vpn << SHIFT, (vpn + 1) << SHIFT)
            self._count("dontneed")

    def _count(self, what: str) -> None:
        self.stats.pressure[what] = self.stats.pressure.get(what, 0) + 1

    async def pressure_thread(self) -> None:
        """kswapd, kcompactd, khugepaged and ksmd in one: runs beside the device's accesses."""
        while True:
            await self._kick.wait(lambda: self._backlog or self._stop)
            if self._stop:
                return
            what, addr, ns = self._backlog.popleft()
            await sleep(ns)
            done = await getattr(self, f"_do_{what}")(addr)
            self._count(what if done else f"{what} (no page)")

    def _pfn(self, addr: int) -> int:
        pte = self.mm.pte(addr)
        return pte.pfn if pte.kind == PteKind.PRESENT else -1

    async def _do_swap(self, addr: int) -> bool:
        pfn = self._pfn(addr)
        return pfn >= 0 and bool(await reclaim.swap_out(self.phys, pfn))

    async def _do_migrate(self, addr: int) -> bool:
        pfn = self._pfn(addr)
        return pfn >= 0 and await migrate.migrate_page(self.phys, pfn) >= 0

    async def _do_protect(self, addr: int) -> bool:
        pfn = self._pfn(addr)
        if pfn < 0 or self.phys.order_of(pfn):
            return False
        self.phys.get_page(pfn)
        done = False
        async with self.mm.mmap_lock.read():
            if self.phys.trylock_page(pfn):
                done = await ksm.write_protect(self.mm, addr, pfn)
                self.phys.unlock_page(pfn)
        self.phys.put_page(pfn)
        return done

    async def _do_numa(self, addr: int) -> bool:
        return await mm_ops.change_prot_numa(self.mm, addr, addr + PAGE) > 0

    async def _do_collapse(self, addr: int) -> bool:
        haddr = self._huge_range(addr)
        return haddr is not None and await thp.collapse_huge_page(self.mm, haddr) == 0

    async def _do_split(self, addr: int) -> bool:
        pte = self.mm.pte(addr)
        if pte.kind != PteKind.PRESENT or pte.order == 0:
            return False
        self.phys.get_page(pte.pfn)
        done = await thp.split_folio(self.phys, pte.pfn) == 0
        self.phys.put_page(pte.pfn)
        return done

    def _huge_range(self, addr: int) -> int | None:
        """An aligned 2-MiB range in one anonymous mapping: at the address, else the last one touched."""
        seen = dict.fromkeys([addr & -HPAGE, *((v << SHIFT) & -HPAGE for v in reversed(self.touched))])
        for haddr in seen:
            vma = self.mm.vma_lookup(haddr)
            if vma is not None and vma.vm_file is None and haddr + HPAGE <= vma.vm_end:
                return haddr
        return None

    # ---- the run ----

    async def run(self) -> Stats:
        """Replay the whole trace, then compare all mapped memory. Mismatches are in `details`.

        Raises TraceError for a trace that cannot be replayed.
        """
        await self.setup()
        thread = self.sched.spawn(self.pressure_thread(), "pressure", daemon=True)
        total = self.trace.count if self.limit is None else min(self.limit, self.trace.count)
        for calls, acc in self.trace.segments(self.limit):
            for c in calls:
                await self.call(c)
            at = 0
            while at < len(acc):
                lo, hi = self.window
                n = int(np.exp(self.rng.uniform(np.log(lo), np.log(hi))))
                await self._window(acc[at : at + n])
                at += n
                if self.progress:
                    self.progress(self.stats.accesses, total)
        await self.drain()
        self._stop = True
        self._kick.wake_all()
        await thread.join()
        await self.compare()
        return self.stats

    async def _window(self, acc: NDArray) -> None:
        ops = expand(acc, self.stats.accesses, self.rng)
        self.hot = _pages(ops)
        for v in self.hot.tolist():
            self.touched.pop(v, None)
            self.touched[v] = None
        while len(self.touched) > 4096:
            del self.touched[next(iter(self.touched))]
        await self._discard(self._plan_pressure(len(acc)))
        try:
            want = self.ref.run(ops)
        except KeyError as e:
            first = self.stats.accesses
            where = f"{self.trace.path}: accesses {first} to {first + len(acc) - 1}"
            raise TraceError(f"{where}: page {int(e.args[0]) << SHIFT:#x} is not mapped") from e
        self.stats.accesses += len(acc)
        turn = self.rng.random()
        if turn < self.device_share:
            self.stats.windows["device"] += 1
            await self._submit(ops, want)
            while len(self.pending) >= self.depth:
                await self._reap()
        elif turn < self.device_share + self.both_share:
            self.stats.windows["both"] += 1
            await self.drain()
            mine = self._split(ops)
            device = self.sched.spawn(self._submit(ops[~mine], want[~mine]), "submit")
            await self._cpu(ops[mine], want[mine])
            await device.join()
        else:
            self.stats.windows["cpu"] += 1
            await self.drain()
            await self._cpu(ops, want)

    def _split(self, ops: NDArray) -> NDArray[np.bool_]:
        """Which operations of a window the CPU does while the device does the others.

        Owners are of 64-byte lines, so that no byte has two, and pages are shared.
        """
        line = ops["addr"] >> np.uint64(6)
        last = (ops["addr"] + ops["size"] - np.uint64(1)) >> np.uint64(6)
        salt = np.uint64(int(self.rng.integers(1, 1 << 62)) | 1)
        mix = (line * salt) >> np.uint64(61)
        wide = [x for a, b in _spans(line, last) for x in range(a, b + 1)]
        crossing = np.isin(line, np.array(wide, dtype=np.uint64)) | (last != line)
        return (mix < 3) & ~crossing

    async def compare(self, first: int = 0, last: int = U64) -> None:
        """Compare every page in [first, last) that the mm or the reference has, byte for byte."""
        for start, end, source in list(self.ref.regions):
            for vpn in range(max(start, first) >> SHIFT, min(end, last) >> SHIFT):
                va = vpn << SHIFT
                pte = self.mm.pte(va)
                if pte.kind == PteKind.NONE and vpn not in self.ref.rows:
                    continue
                self.stats.pages_compared += 1
                row = self.ref.rows.get(vpn)
                fresh = None if row is not None else self.ref.initial_page(vpn)
                want = self.ref.pages[row].tobytes() if row is not None else fresh or bytes(PAGE)
                if not source.prot & PROT_READ:
                    await self.mm.mprotect(va, PAGE, PROT_READ)
                got = await self.mm.load(va, PAGE)
                if got != want:
                    bad = np.flatnonzero(np.frombuffer(got, np.uint8) != np.frombuffer(want, np.uint8))
                    k = int(bad[0])
                    self._bad(
                        f"memory at {va + k:#x} is {got[k]:#04x}, must be {want[k]:#04x}"
                        f" ({len(bad)} bytes of the page differ)"
                    )
            await point("compare")


def _pages(ops: NDArray) -> NDArray[np.int64]:
    """The pages that operations touch, sorted."""
    first = (ops["addr"] >> np.uint64(SHIFT)).astype(np.int64)
    last = ((ops["addr"] + ops["size"] - np.uint64(1)) >> np.uint64(SHIFT)).astype(np.int64)
    return np.unique(np.concatenate([first, last]))


def _spans(line: NDArray, last: NDArray) -> list[tuple[int, int]]:
    """(first, last) line of the operations that cross lines."""
    cross = np.flatnonzero(line != last)
    return list(zip(line[cross].tolist(), last[cross].tolist(), strict=True))


def _pattern(data: int, k: int, n: int) -> bytes:
    """Bytes k to k+n of the 8 bytes of `data` repeated."""
    eight = data.to_bytes(8, "little")
    if k == 0 and n <= 8:
        return eight[:n]
    return (eight * ((k + n) // 8 + 1))[k : k + n]


def _fold(part: memoryview, k: int) -> int:
    """XOR of byte i of `part` shifted left by 8*((k + i) mod 8)."""
    n = len(part)
    if k == 0 and n <= 8:
        return int.from_bytes(part, "little")
    raw = bytes(k & 7) + bytes(part)
    raw += bytes(-len(raw) % 8)
    return int(np.bitwise_xor.reduce(np.frombuffer(raw, dtype="<u8")))
