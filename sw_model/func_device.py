"""A functional model of the device (MMU and access engine) without timing: a Transport for driver tests.

To a host that keeps its side of docs/device-interface.md it keeps the device's, and nothing more. All it does
is one of a few small steps (a posted write lands, a command is fetched, takes effect, completes; an access is
accepted, looks up, is answered; a record is written; an interrupt arrives). `steps()` lists those that can
happen now, `step(s)` lets one happen: whoever drives the model chooses the order. `idle` (for Scheduler.run)
and `run_thread` choose by a seed.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw_model import device_interface as di
from sw_model.device_interface import CMD, DONE, EVENT, FAULT, WORK, CmdError, Code, Event, Op, Reg, Work
from sw_model.device_interface import WorkStatus as WS
from sw_model.rings import COUNT_MASK
from sw_model.sched import WaitQueue, point

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
READ, WRITE = 1, 2
_PAGES = {0: 1, 1: 1 << 9, 2: 1 << 18}
_MAX_DRAIN = 32
_MAX_ACTIVE = 8

Step = tuple[str, Any]


class Translation:
    """One cached translation: `npages` 4-KiB pages from `vpn` to frame `pfn` (of the bus address)."""

    def __init__(self, pasid: int, vpn: int, pfn: int, npages: int, perm: int) -> None:
        self.pasid = pasid
        self.vpn = vpn
        self.pfn = pfn
        self.npages = npages
        self.perm = perm

    def covers(self, pasid: int | None, first: int, last: int) -> bool:
        """True when the whole page overlaps [first, last) of the PASID (None: any)."""
        return (pasid is None or pasid == self.pasid) and self.vpn < last and first < self.vpn + self.npages


class Access:
    """One access within a page. `kind` is READ or WRITE; `apply(bytes view)` runs when it is answered."""

    def __init__(
        self,
        pasid: int,
        va: int,
        nbytes: int,
        kind: int,
        requester: int,
        apply: Callable[[NDArray[np.uint8]], None],
        end: Callable[[int], None],
    ) -> None:
        self.pasid = pasid
        self.va = va
        self.vpn = va >> PAGE_SHIFT
        self.nbytes = nbytes
        self.kind = kind
        self.requester = requester
        self.apply = apply
        self.end = end
        self.used: Translation | None = None
        self.fault: Fault | None = None


class Fault:
    """An outstanding fault identifier; `access` grows until the record is written."""

    def __init__(self, ident: int, seq: int, access: Access) -> None:
        self.ident = ident
        self.seq = seq
        self.pasid = access.pasid
        self.vpn = access.vpn
        self.access = access.kind
        self.requester = access.requester
        self.sent = False
        self.waiters: list[Access] = [access]


class _Drain:
    """A command that has taken effect and completes once `wait` is empty."""

    def __init__(self, row: dict[str, int], index: int, effect: int, wait: set[Access]) -> None:
        self.row = row
        self.index = index
        self.effect = effect
        self.wait = wait
        self.error = 0


class FuncDevice:
    """The device. `memory` is shared with the host; frame 0 of it is at `bus_base`.

    `tlb` entries are evicted at random beyond `capacity`. `on_access(phase, access, pfn)` is called with
    phase "issue" when an access takes a translation and "respond" when it touches frame `pfn` of `memory`.
    """

    def __init__(
        self,
        memory: NDArray[np.uint8],
        seed: int = 0,
        *,
        bus_base: int = 0,
        pasids: int = 16,
        mshrs: int = 32,
        park: int = 64,
        max_inflight: int = 64,
        va_bits: int = 48,
        capacity: int = 1024,
    ) -> None:
        self.memory = memory
        self.bus_base = bus_base
        self.rng = random.Random(seed)
        self.pasids = pasids
        self.mshrs = mshrs
        self.park = park
        self.max_inflight = max_inflight
        self.va_bits = va_bits
        self.capacity = capacity
        self.on_access: Callable[[str, Access, int], None] | None = None
        self.regs: dict[int, int] = {}
        self.stat: dict[str, int] = dict.fromkeys(
            ("accesses", "hits", "misses", "coalesced", "faults", "stale_responses", "fills", "invalidations",
             "evictions", "command_errors", "errors", "responses"), 0)  # fmt: skip
        self.ticks = 0
        self.attached: set[int] = set()
        self.tlb: list[Translation] = []
        self.arrivals: deque[Access] = deque()
        self.looking: list[Access] = []
        self.inflight: list[Access] = []
        self.waiting_fault: list[Access] = []
        self.faults: dict[int, Fault] = {}
        self.drains: deque[_Drain] = deque()
        self.commands: deque[tuple[dict[str, int], int]] = deque()
        self.done_records: deque[dict[str, int]] = deque()
        self.error_events: deque[_Drain] = deque()
        self.posted: deque[tuple[int, int]] = deque()
        self._seq = 0
        self._descriptors = 0
        self._active: dict[int, dict[str, int]] = {}
        self._irq_pending = [False] * 4
        self._irq_latched = [False] * 4
        self._irq_wq = [WaitQueue(f"irq{i}") for i in range(4)]
        self._work_wq = WaitQueue("device")

    # ---- Transport ---------------------------------------------------------------------------------------

    async def read_reg(self, offset: int) -> int:
        """32-bit register; earlier posted writes land first."""
        await point("mmio", self)
        while self.posted:
            self._land()
        return self._read(offset)

    async def write_reg(self, offset: int, value: int) -> None:
        """Posted: lands in a later step, in order."""
        await point("mmio", self)
        self.posted.append((offset, value))
        self._work_wq.wake_all()

    async def wait_irq(self, vector: int) -> None:
        """Wait for an interrupt on `vector` since the last return."""
        await self._irq_wq[vector].wait(lambda: self._irq_latched[vector])
        self._irq_latched[vector] = False

    def now(self) -> int:
        """Steps since the start."""
        return self.ticks

    # ---- steps -------------------------------------------------------------------------------------------

    def steps(self) -> list[Step]:
        """Everything that can happen now."""
        out: list[Step] = []
        if self.posted:
            out.append(("reg", None))
        if self._level("CMD") and len(self.commands) < 4:
            out.append(("fetch", None))
        if self.commands and len(self.drains) < _MAX_DRAIN:
            out.append(("apply", None))
        if (self.error_events or (self.drains and not self.drains[0].wait)) and self._space("EVENT"):
            out.append(("complete", None))
        if self._level("WORK") and self.regs.get(Reg.ENGINE_CTRL, 0) & 1 and self._may_start():
            out.append(("work", None))
        parked = sum((len(f.waiters) for f in self.faults.values()), len(self.looking))
        parked += len(self.waiting_fault)
        if self.arrivals and self.regs.get(Reg.CTRL, 0) & 1 and parked < self.park:
            out.append(("accept", None))
        out += [("lookup", a) for a in self.looking]
        out += [("respond", a) for a in self.inflight]
        if self._space("FAULT"):
            out += [("fault", f) for f in self.faults.values() if not f.sent]
        if self.done_records and self._space("DONE"):
            out.append(("done", None))
        enabled = self.regs.get(Reg.IRQ_ENABLE, 0)
        out += [("irq", v) for v in range(4) if self._irq_pending[v] and enabled >> v & 1]
        return out

    def step(self, step: Step) -> None:
        """Let one of steps() happen."""
        self.ticks += 1
        name, what = step
        getattr(self, f"_do_{name}")(*(() if what is None else (what,)))

    def idle(self, deadline: int | None) -> bool:
        """For Scheduler.run: one step, chosen by the seed; False when nothing can happen."""
        steps = self.steps()
        if not steps:
            return False
        self.step(self.rng.choice(steps))
        return True

    async def run_thread(self) -> None:
        """A daemon thread that lets the device go on between the steps of other threads."""
        while True:
            steps = self.steps()
            if steps:
                self.step(self.rng.choice(steps))
                await point("device", self)
            else:
                await self._work_wq.wait(self.steps)

    # ---- registers ---------------------------------------------------------------------------------------

    def _read(self, offset: int) -> int:
        fixed = {
            Reg.ID: di.MAGIC,
            Reg.VERSION: di.VERSION,
            Reg.CAP0: 8 | 4 << 8 | self.mshrs << 16 | self.park << 24,
            Reg.CAP1: 4 | self.va_bits << 8 | 48 << 16 | self.pasids << 24,
            Reg.STATUS: 1,
            Reg.IRQ_STATUS: sum(1 << v for v in self._masked()),
            Reg.ENGINE_ID: di.ENGINE_MAGIC,
            Reg.ENGINE_STATUS: int(not self._active and not self._level("WORK")) | len(self._active) << 16,
        }
        return fixed.get(offset, self.regs.get(offset, 0))  # type: ignore[call-overload]

    def _do_reg(self) -> None:
        self._land()

    def _land(self) -> None:
        offset, value = self.posted.popleft()
        ring, _, what = Reg(offset).name.partition("_")
        if offset == Reg.IRQ_STATUS:
            for v in self._masked():
                self._irq_pending[v] &= not value >> v & 1
            return
        if what in ("BASE_LO", "BASE_HI", "SIZE") and self._enabled(ring):
            return
        self.regs[offset] = value
        if what == "CTRL" and ring != "ENGINE" and not value & 1:
            self.regs[Reg[f"{ring}_TAIL"]] = self.regs[Reg[f"{ring}_HEAD"]] = 0
            if ring == "WORK":
                self._descriptors = 0

    def _ring(self, name: str) -> tuple[int, int, int, int]:
        """Byte offset in memory, log2, tail, head."""
        r = self.regs
        bus = r.get(Reg[f"{name}_BASE_LO"], 0) | r.get(Reg[f"{name}_BASE_HI"], 0) << 32
        return (
            bus - self.bus_base,
            r.get(Reg[f"{name}_SIZE"], 0),
            r.get(Reg[f"{name}_TAIL"], 0),
            r.get(Reg[f"{name}_HEAD"], 0),
        )

    def _enabled(self, name: str) -> bool:
        return bool(self.regs.get(Reg[f"{name}_CTRL"], 0) & 1)

    def _level(self, name: str) -> int:
        if not self._enabled(name):
            return 0
        _, _, tail, head = self._ring(name)
        return (tail - head) & COUNT_MASK

    def _space(self, name: str) -> bool:
        return self._enabled(name) and self._level(name) < 1 << self._ring(name)[1]

    def _slot(self, name: str, count: int) -> NDArray[np.uint64]:
        offset, log2, _, _ = self._ring(name)
        at = offset + (count & ((1 << log2) - 1)) * di.RECORD_BYTES
        return self.memory[at : at + di.RECORD_BYTES].view("<u8")

    def _take(self, name: str) -> tuple[NDArray[np.uint64], int]:
        head = self._ring(name)[3]
        row = self._slot(name, head).copy()
        self.regs[Reg[f"{name}_HEAD"]] = (head + 1) & COUNT_MASK
        return row, head

    def _give(self, name: str, record: Any, vector: int, values: dict[str, int]) -> None:
        _, log2, tail, _ = self._ring(name)
        phase = 1 - ((tail >> log2) & 1)
        self._slot(name, tail)[:] = record.pack(phase=phase, **values)[0]
        self.regs[Reg[f"{name}_TAIL"]] = (tail + 1) & COUNT_MASK
        self._irq_pending[vector] = True

    def _masked(self) -> list[int]:
        """Vectors whose interrupt is held back because they are disabled."""
        enabled = self.regs.get(Reg.IRQ_ENABLE, 0)
        return [v for v, pending in enumerate(self._irq_pending) if pending and not enabled >> v & 1]

    def _do_irq(self, vector: int) -> None:
        self._irq_pending[vector] = False
        self._irq_latched[vector] = True
        self._irq_wq[vector].wake_all()

    # ---- commands ----------------------------------------------------------------------------------------

    def _do_fetch(self) -> None:
        row, index = self._take("CMD")
        self.commands.append((CMD.unpack(row), index & 0xFFFF))

    def _do_apply(self) -> None:
        row, index = self.commands.popleft()
        drain = _Drain(row, index, self.ticks, set())
        drain.error = self._apply(row, drain.wait)
        if drain.error:
            self.stat["command_errors"] += 1
            self.error_events.append(drain)
        elif row["flags"] & di.Flag.COMPLETE or drain.wait:
            self.drains.append(drain)

    def _apply(self, row: dict[str, int], wait: set[Access]) -> int:
        op, pasid = row["op"], row["pasid"]
        limit = 1 << (self.va_bits - PAGE_SHIFT)
        if op == Op.FILL:
            return self._apply_fill(row, limit)
        if op == Op.RESPOND:
            if row["code"] not in tuple(Code):
                return CmdError.CODE
            self._apply_respond(row)
        elif op == Op.INVALIDATE:
            first = row["va"] >> PAGE_SHIFT
            if row["va"] & (PAGE_SIZE - 1):
                return CmdError.ALIGNMENT
            if not row["npages"] or first + row["npages"] > limit:
                return CmdError.COUNT
            self._drop(pasid, first, first + row["npages"], wait)
        elif op == Op.INVALIDATE_PASID:
            self._drop(pasid, 0, limit, wait)
        elif op == Op.INVALIDATE_ALL:
            self._drop(None, 0, limit, wait)
        elif op == Op.ATTACH:
            if pasid not in self.attached and len(self.attached) >= self.pasids:
                return CmdError.TABLE_FULL
            self.attached.add(pasid)
        elif op == Op.DETACH:
            if pasid not in self.attached:
                return CmdError.NOT_ATTACHED
            self.attached.discard(pasid)
            self._drop(pasid, 0, limit, wait)
            parked = [a for a in self.waiting_fault if a.pasid == pasid]
            for ident in [i for i, f in self.faults.items() if f.pasid == pasid]:
                parked += self.faults.pop(ident).waiters
            self.waiting_fault = [a for a in self.waiting_fault if a.pasid != pasid]
            for a in parked:
                self._error(a, WS.DECERR)
        elif op != Op.FENCE:
            return CmdError.OPCODE
        return 0

    def _apply_fill(self, row: dict[str, int], limit: int) -> int:
        if row["size"] not in _PAGES:
            return CmdError.SIZE
        n = _PAGES[row["size"]]
        size = n << PAGE_SHIFT
        if row["va"] % size or row["pa"] % size:
            return CmdError.ALIGNMENT
        vpn, pfn = row["va"] >> PAGE_SHIFT, row["pa"] >> PAGE_SHIFT
        if not row["npages"] or vpn + row["npages"] * n > limit:
            return CmdError.COUNT
        if not row["perm"]:
            return CmdError.PERM
        if row["pasid"] not in self.attached:
            return CmdError.NOT_ATTACHED
        for i in range(row["npages"]):
            page = Translation(row["pasid"], vpn + i * n, pfn + i * n, n, row["perm"])
            self.tlb = [
                t for t in self.tlb if (t.pasid, t.vpn, t.npages) != (page.pasid, page.vpn, page.npages)
            ]
            self.tlb.append(page)
            self.stat["fills"] += 1
            if len(self.tlb) > self.capacity:
                self.tlb.pop(self.rng.randrange(len(self.tlb) - 1))
                self.stat["evictions"] += 1
        return 0

    def _apply_respond(self, row: dict[str, int]) -> None:
        f = self.faults.get(row["fault"])
        if f is None or f.seq != row["seq"] or not f.sent:
            self.stat["stale_responses"] += 1
            return
        del self.faults[row["fault"]]
        self.stat["responses"] += 1
        strongest = WRITE if f.access & WRITE else READ
        for a in f.waiters:
            a.fault = None
            if row["code"] == Code.SUCCESS or a.kind != strongest:
                self.looking.append(a)
            else:
                self._error(a, WS.SLVERR if row["code"] == Code.INVALID else WS.DECERR)
        self._admit()

    def _drop(self, pasid: int | None, first: int, last: int, wait: set[Access]) -> None:
        self.stat["invalidations"] += 1
        self.tlb = [t for t in self.tlb if not t.covers(pasid, first, last)]
        wait |= {a for a in self.inflight if a.used is not None and a.used.covers(pasid, first, last)}

    def _do_complete(self) -> None:
        drain = self.error_events.popleft() if self.error_events else self.drains.popleft()
        row = drain.row
        if drain.error or row["flags"] & di.Flag.COMPLETE:
            kind = Event.COMMAND_ERROR if drain.error else Event.COMPLETE
            self._give("EVENT", EVENT, di.IRQ_EVENT, {
                "type": kind, "status": drain.error, "tag": row["tag"], "index": drain.index, "op": row["op"],
                "effect": drain.effect & 0xFFFFFFFF, "cycle": self.ticks & 0xFFFFFFFF,
            })  # fmt: skip

    # ---- accesses ----------------------------------------------------------------------------------------

    def _do_accept(self) -> None:
        a = self.arrivals.popleft()
        self.stat["accesses"] += 1
        self.looking.append(a)

    def _do_lookup(self, a: Access) -> None:
        hits = [t for t in self.tlb if t.pasid == a.pasid and t.vpn <= a.vpn < t.vpn + t.npages]
        hit = min(hits, key=lambda t: t.npages, default=None)
        if hit is not None and hit.perm & a.kind:
            if len(self.inflight) >= self.max_inflight:
                return
            self.looking.remove(a)
            self.stat["hits"] += 1
            a.used = hit
            self.inflight.append(a)
            self._notify("issue", a)
            return
        self.looking.remove(a)
        if a.pasid not in self.attached or a.vpn >> (self.va_bits - PAGE_SHIFT):
            self._error(a, WS.DECERR)
            return
        self.stat["misses"] += 1
        self.waiting_fault.append(a)
        self._admit()

    def _admit(self) -> None:
        """Give fault identifiers to parked accesses, or merge them into an outstanding fault."""
        rest = []
        for a in self.waiting_fault:
            f = next((f for f in self.faults.values() if (f.pasid, f.vpn) == (a.pasid, a.vpn)), None)
            if f is not None:
                self.stat["coalesced"] += 1
                f.waiters.append(a)
                if not f.sent:
                    f.access |= a.kind
            elif len(self.faults) < self.mshrs:
                ident = next(i for i in range(self.mshrs) if i not in self.faults)
                self._seq = (self._seq + 1) & 0xFFFFFFFF
                f = self.faults[ident] = Fault(ident, self._seq, a)
            else:
                rest.append(a)
                continue
            a.fault = f
        self.waiting_fault = rest

    def _do_fault(self, f: Fault) -> None:
        f.sent = True
        self.stat["faults"] += 1
        self._give("FAULT", FAULT, di.IRQ_FAULT, {
            "pasid": f.pasid, "access": f.access, "requester": f.requester, "fault": f.ident,
            "va": f.vpn << PAGE_SHIFT, "seq": f.seq, "cycle": self.ticks & 0xFFFFFFFF,
        })  # fmt: skip

    def _bytes(self, a: Access) -> NDArray[np.uint8]:
        assert a.used is not None
        pa = ((a.used.pfn + a.vpn - a.used.vpn) << PAGE_SHIFT) | (a.va & (PAGE_SIZE - 1))
        at = pa - self.bus_base
        return self.memory[at : at + a.nbytes]

    def _notify(self, phase: str, a: Access) -> None:
        if self.on_access is not None:
            assert a.used is not None
            bus_pfn = a.used.pfn + a.vpn - a.used.vpn
            self.on_access(phase, a, bus_pfn - (self.bus_base >> PAGE_SHIFT))

    def _do_respond(self, a: Access) -> None:
        self.inflight.remove(a)
        self._notify("respond", a)
        a.apply(self._bytes(a))
        for d in self.drains:
            d.wait.discard(a)
        a.end(WS.OK)

    def _error(self, a: Access, status: int) -> None:
        self.stat["errors"] += 1
        a.end(status)

    # ---- access engine -----------------------------------------------------------------------------------

    def _may_start(self) -> bool:
        """Descriptors that touch the same bytes, one of them writing, keep ring order."""
        if len(self._active) >= _MAX_ACTIVE:
            return False
        w = WORK.unpack(self._slot("WORK", self._ring("WORK")[3]))
        return not any(_overlap(w, x) for x in self._active.values())

    def _do_work(self) -> None:
        row, _ = self._take("WORK")
        w = WORK.unpack(row)
        self._active[self._descriptors] = w
        _Descriptor(self, w, self._descriptors, self.ticks)
        self._descriptors = (self._descriptors + 1) & 0xFFFFFFFF

    def _do_done(self) -> None:
        self._give("DONE", DONE, di.IRQ_DONE, self.done_records.popleft())


def _overlap(a: dict[str, int], b: dict[str, int]) -> bool:
    """True when two descriptors of one PASID touch the same bytes and one of them writes."""
    if a["pasid"] != b["pasid"]:
        return False

    def spans(w: dict[str, int]) -> list[tuple[int, int, bool]]:
        n = 8 if w["op"] == Work.CAS else w["len"]
        out = [(w["va"], w["va"] + n, w["op"] != Work.READ)]
        if w["op"] == Work.COPY:
            out.append((w["src"], w["src"] + n, False))
        return out

    return any((wa or wb) and a0 < b1 and b0 < a1 for a0, a1, wa in spans(a) for b0, b1, wb in spans(b))


class _Descriptor:
    """One work descriptor: its accesses, split at page boundaries, and its completion."""

    def __init__(self, dev: FuncDevice, w: dict[str, int], index: int, start: int) -> None:
        self.dev, self.w, self.index, self.start = dev, w, index, start
        self.left = 0
        self.status: int = WS.OK
        self.data = 0
        op, n = w["op"], w["len"]
        bad = (op not in tuple(Work) or (op != Work.CAS and not n) or (op == Work.WRITE and n > 8)
               or (op == Work.CAS and w["va"] & 7))  # fmt: skip
        if bad:
            self.status = WS.BAD_DESCRIPTOR
            self._finish()
            return
        if op == Work.CAS:
            n = 8
        self.left = 1  # this loop
        at = 0
        while at < n:
            va, src = w["va"] + at, w["src"] + at
            size = min(n - at, PAGE_SIZE - va % PAGE_SIZE)
            if op == Work.COPY:
                size = min(size, PAGE_SIZE - src % PAGE_SIZE)
            getattr(self, f"_start_{Work(op).name.lower()}")(va, src, size, at)
            at += size
        self._done_one()

    def _access(self, va: int, size: int, kind: int, apply: Callable[[NDArray[np.uint8]], None],
                then: Callable[[], None] | None = None) -> None:  # fmt: skip
        def end(status: int) -> None:
            if status == WS.OK and then is not None:
                then()
            self.status = max(self.status, status)
            self._done_one()

        self.left += 1
        w = self.w
        self.dev.arrivals.append(Access(w["pasid"], va, size, kind, w["requester"], apply, end))

    def _done_one(self) -> None:
        self.left -= 1
        if not self.left:
            self._finish()

    def _finish(self) -> None:
        del self.dev._active[self.index]
        if self.w["flags"] & di.Flag.COMPLETE:
            self.dev.done_records.append({
                "index": self.index, "status": int(self.status), "op": self.w["op"], "data": self.data,
                "start": self.start & 0xFFFFFFFF, "cycle": self.dev.ticks & 0xFFFFFFFF,
            })  # fmt: skip

    def _start_read(self, va: int, src: int, size: int, at: int) -> None:
        def apply(view: NDArray[np.uint8]) -> None:
            for i, byte in enumerate(view.tolist()):
                self.data ^= byte << 8 * ((at + i) % 8)

        self._access(va, size, READ, apply)

    def _pattern(self, at: int, size: int) -> NDArray[np.uint8]:
        word = np.frombuffer(self.w["data"].to_bytes(8, "little"), np.uint8)
        return word[(np.arange(at, at + size)) % 8]

    def _start_write(self, va: int, src: int, size: int, at: int) -> None:
        def apply(view: NDArray[np.uint8]) -> None:
            view[:] = self._pattern(at, size)

        self._access(va, size, WRITE, apply)

    _start_fill = _start_write

    def _start_copy(self, va: int, src: int, size: int, at: int) -> None:
        buffer = np.zeros(size, np.uint8)

        def load(view: NDArray[np.uint8]) -> None:
            buffer[:] = view

        def store(view: NDArray[np.uint8]) -> None:
            view[:] = buffer

        self._access(src, size, READ, load, lambda: self._access(va, size, WRITE, store))

    def _start_cas(self, va: int, src: int, size: int, at: int) -> None:
        def apply(view: NDArray[np.uint8]) -> None:
            self.data = int.from_bytes(view.tobytes(), "little")
            if self.data == self.w["src"]:
                view[:] = self._pattern(0, 8)

        self._access(va, size, WRITE, apply)
