"""FuncDevice as the specification of the RTL: does it admit what the RTL did?

A Spec is a FuncDevice that is led: what goes into the device goes into it, and for what comes out of the
device it takes the internal steps that lead there, or raises Mismatch if none do. Where the interface
leaves a choice (evictions, when a record is written, numbers of faults) it follows the device.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw_model import device_interface as di
from sw_model.device_interface import DONE, EVENT, FAULT, Event, Op, Reg, Work
from sw_model.device_interface import WorkStatus as WS
from sw_model.func_device import PAGE_SHIFT, READ, WRITE, Access, Fault, FuncDevice, Translation, _Descriptor
from sw_model.rings import COUNT_MASK

_MANY = 1 << 20
_WORD, _BURST = 16, 256  # bytes of the data bus, and of the engine's longest burst
_KIND = {READ: "read", WRITE: "write"}


class Mismatch(AssertionError):
    """The RTL did what the functional device, as the specification, does not admit."""


def _text(pasid: int, va: int, kind: int) -> str:
    return f"{_KIND[kind]} of pasid {pasid} va {va:#x}"


class Spec(FuncDevice):
    """Follows one device. The methods are what goes in and what comes out, in order."""

    def __init__(self, memory: NDArray[np.uint8]) -> None:
        super().__init__(memory, mshrs=_MANY, park=_MANY, max_inflight=_MANY, capacity=_MANY)
        self._row: NDArray[np.uint64] = np.zeros(4, np.uint64)
        self._view: NDArray[np.uint8] = np.zeros(0, np.uint8)
        self._owed: Counter[tuple[int, int, int, int]] = Counter()  # errors: PASID, va, kind, status
        self._idents: dict[int, Fault] = {}  # the device's identifiers of records that came out
        self._forgotten: list[Fault] = []  # not sent when their PASID was detached
        self._work: deque[NDArray[np.uint64]] = deque()  # descriptors that have not started
        self._place: dict[Access, tuple[int, int]] = {}  # descriptor, number in it
        self._owner: dict[Access, int] = {}  # descriptor
        self._slots: dict[int, int] = {}  # slot of the engine: descriptor
        self._again: set[Access] = set()  # have looked up before
        self._unwritten: list[tuple[int, ...]] = []  # fault records on their way to memory

    # ---- what goes in ------------------------------------------------------------------------------------

    def land(self, offset: int, value: int) -> None:
        """A register is written."""
        self.posted.append((offset, value))
        self._land()

    def command(self, row: NDArray[np.uint64]) -> None:
        """The next record of CMD goes into the device."""
        self._row = row
        self._do_fetch()
        words = self.commands[-1][0]
        if words["op"] == Op.RESPOND:
            f = self._idents.get(words["fault"])
            known = f is not None and self._seq_of(f) == words["seq"] and self.faults.get(f.ident) is f
            words["fault"], words["seq"] = (f.ident, f.seq) if known and f is not None else (_MANY, 0)
            self._again |= set(f.waiters) if known and f is not None else set()
        elif words["op"] == Op.DETACH:
            self._forgotten += [f for f in self.faults.values() if f.pasid == words["pasid"] and not f.sent]
        self._do_apply()

    def work(self, row: NDArray[np.uint64]) -> None:
        """The next record of WORK goes into the device. Raises NotImplementedError for CAS."""
        if di.WORK.unpack(row)["op"] == Work.CAS:
            raise NotImplementedError("a compare-and-swap is two accesses in the RTL and one here")
        self._work.append(row)
        self._start()

    def respond(self, access: Access, view: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """An access is answered over these bytes of memory, a copy; the bytes behind it."""
        self._view = view
        self._do_respond(access)
        return view

    def stored(self, access: Access, want: NDArray[np.uint8], got: NDArray[np.uint8]) -> None:
        """What the answered access left in memory."""
        if not np.array_equal(want, got):
            raise Mismatch(
                f"{_text(access.pasid, access.va, access.kind)} left {got.tolist()}, not {want.tolist()}"
            )

    def written(self, data: Any) -> None:
        """A fault record is in memory."""
        self._unwritten.remove(tuple(data))

    # ---- what comes out ----------------------------------------------------------------------------------

    def issued(self, pasid: int, va: int, kind: int, bus: int, slot: int) -> Access:
        """An access goes to the bus; `slot` is its AXI ID."""
        text = f"{_text(pasid, va, kind)} goes to the bus at {bus:#x}"
        access = self._looking_again(pasid, va, kind, slot)
        if access is None:
            raise Mismatch(f"{text}: no such access may look up")
        hits = sorted(self._hits(access), key=lambda t: t.npages)
        right = [t for t in hits if t.pfn + access.vpn - t.vpn == bus >> PAGE_SHIFT]
        if not right:
            raise Mismatch(f"{text}: " + (f"translated to frame {hits[0].pfn}" if hits else "no translation"))
        if not right[0].perm & kind:
            raise Mismatch(f"{text}: the translation does not allow it")
        for t in hits[: hits.index(right[0])]:
            self.tlb.remove(t)  # a smaller page, evicted
        self._do_lookup(access)
        return access

    def ended(self, pasid: int, va: int, kind: int, status: int) -> None:
        """The device ended an access by itself."""
        key = pasid, va, kind, status
        if not self._owed[key]:
            name = WS(status).name
            raise Mismatch(f"{_text(pasid, va, kind)} ends with {name}: nothing asks for it")
        self._owed[key] -= 1

    def fault(self, row: NDArray[np.uint64]) -> None:
        """A fault record comes out."""
        rec = FAULT.unpack(row)
        pasid, vpn = rec["pasid"], rec["va"] >> PAGE_SHIFT
        text = f"fault {rec['fault']} for pasid {pasid} page {vpn:#x}"
        self._out("FAULT", text)
        old = self._idents.get(rec["fault"])
        if old is not None and self.faults.get(old.ident) is old:
            raise Mismatch(f"{text}: the identifier is outstanding")
        f = self._unsent(pasid, vpn)
        if f is None:
            raise Mismatch(f"{text}: no access waits for a record")
        if not rec["access"] or rec["access"] & ~f.access:
            raise Mismatch(f"{text}: access {rec['access']}, asked for is {f.access}")
        f.access = rec["access"]
        self._unwritten.append(tuple(row.tolist()))
        self._idents[rec["fault"]] = f
        f.rtl_seq = rec["seq"]  # type: ignore[attr-defined]
        if f in self._forgotten:
            self._forgotten.remove(f)
        else:
            self._do_fault(f)

    def complete(self, row: NDArray[np.uint64]) -> None:
        """An event record comes out."""
        rec = EVENT.unpack(row)
        if rec["type"] == Event.COMMAND_ERROR:
            drains = [d for d in self.error_events if d.index == rec["index"]]
        else:
            drains = list(self._completing())[:1]
        name = f"{Op(rec['op']).name} {rec['index']}" if rec["op"] in tuple(Op) else f"command {rec['index']}"
        self._out("EVENT", f"{name} completes")
        if not drains:
            raise Mismatch(f"{name} completes: no completion is due")
        d = drains[0]
        want = d.index, d.row["op"], d.row["tag"], d.error
        if (rec["index"], rec["op"], rec["tag"], rec["status"]) != want:
            raise Mismatch(
                f"{name} completes with tag {rec['tag']} status {rec['status']}: the next is {want}"
            )
        if d.wait:
            waits = ", ".join(_text(a.pasid, a.va, a.kind) for a in d.wait)
            raise Mismatch(f"{name} completes before the response of {waits}")
        if rec["op"] == Op.DETACH and not d.error:
            pasid = d.row["pasid"]
            if any(FAULT.unpack(np.array(r, np.uint64))["pasid"] == pasid for r in self._unwritten):
                raise Mismatch(f"{name} completes before a fault record of pasid {pasid} is in memory")
            self._forgotten = [f for f in self._forgotten if f.pasid != pasid]
        (self.error_events if d.error else self.drains).remove(d)

    def done(self, row: NDArray[np.uint64]) -> None:
        """A completion of the access engine comes out."""
        rec = DONE.unpack(row)
        self._out("DONE", f"descriptor {rec['index']}")
        want = next((d for d in self.done_records if d["index"] == rec["index"]), None)
        if want is None:
            raise Mismatch(f"descriptor {rec['index']} completes: its accesses have not ended")
        self.done_records.remove(want)
        for name in ("status", "op") if want["status"] else ("status", "op", "data"):
            if rec[name] != want[name]:
                raise Mismatch(f"descriptor {rec['index']}: {name} {rec[name]:#x}, not {want[name]:#x}")

    def leftover(self) -> list[str]:
        """What a device at rest with room in its rings still owes; empty when all is well."""
        out = [f"the error of {_text(p, v, k)}" for (p, v, k, _), n in self._owed.items() if n]
        out += [f"a fault record for page {f.vpn:#x}" for f in self.faults.values() if not f.sent]
        out += [f"the completion of command {d.index}" for d in self._completing() if not d.wait]
        out += [f"the error event of command {d.index}" for d in self.error_events]
        out += [f"the completion of descriptor {d['index']}" for d in self.done_records]
        out += [f"the lookup of {_text(a.pasid, a.va, a.kind)}" for a in self.looking]
        return out

    # ---- inside ------------------------------------------------------------------------------------------

    def _hits(self, a: Access) -> list[Translation]:
        return [t for t in self.tlb if t.covers(a.pasid, a.vpn, a.vpn + 1)]

    def _looking_again(self, pasid: int, va: int, kind: int, slot: int) -> Access | None:
        """An access that may look up: it has no record out, or may have come later than here.

        Of those that are alike it is the one whose descriptor has this slot of the engine.
        """
        places = [(a, None) for a in self.looking]
        places += [
            (a, f) for f in self.faults.values() if not f.sent or len(f.waiters) > 1 for a in f.waiters
        ]
        alike = [(a, f) for a, f in places if (a.pasid, a.va, a.kind) == (pasid, va, kind)]
        self._slots = {s: d for s, d in self._slots.items() if d in self._active}
        mine, others = self._slots.get(slot), set(self._slots.values())
        right = [
            x
            for x in alike
            if self._owner[x[0]] == mine or (mine is None and self._owner[x[0]] not in others)
        ]
        if not right:
            return None
        a, f = right[0]
        self._slots[slot] = self._owner[a]
        if f is not None:
            f.waiters.remove(a)
            if not f.waiters:
                del self.faults[f.ident]
            self.looking.append(a)
        return a

    def _unsent(self, pasid: int, vpn: int) -> Fault | None:
        """The fault of a page whose record may come out."""
        while True:
            for f in (*self.faults.values(), *self._forgotten):
                if (f.pasid, f.vpn) == (pasid, vpn) and not f.sent:
                    return f
            a = next((a for a in self.looking if (a.pasid, a.vpn) == (pasid, vpn)), None)
            if a is None:
                return None
            for t in sorted(self._hits(a), key=lambda t: t.npages):
                if not t.perm & a.kind:
                    break
                self.tlb.remove(t)  # evicted
            self._do_lookup(a)

    def _completing(self) -> Iterator[Any]:
        """The commands that owe a completion, in order; the head ones that owe none go."""
        while self.drains and not self.drains[0].wait and not self.drains[0].row["flags"] & di.Flag.COMPLETE:
            self.drains.popleft()
        return (d for d in self.drains if d.row["flags"] & di.Flag.COMPLETE)

    @staticmethod
    def _seq_of(f: Fault) -> int:
        return f.rtl_seq  # type: ignore[attr-defined]

    def _take(self, name: str) -> tuple[NDArray[np.uint64], int]:
        at = self._ring(name)[3]
        self.regs[Reg[f"{name}_HEAD"]] = (at + 1) & COUNT_MASK
        return self._row, at

    def _give(self, name: str, record: Any, vector: int, values: dict[str, int]) -> None:
        """The record itself is the device's."""

    def _out(self, name: str, text: str) -> None:
        """A record comes out for a ring."""
        if not self._space(name):
            raise Mismatch(f"{text}: the {name} ring has no room")
        self.regs[Reg[f"{name}_TAIL"]] = (self._ring(name)[2] + 1) & COUNT_MASK

    def _bytes(self, a: Access) -> NDArray[np.uint8]:
        return self._view

    def _error(self, a: Access, status: int) -> None:
        self._owed[a.pasid, a.va, a.kind, int(status)] += 1
        super()._error(a, status)

    def _do_work(self) -> None:
        w = di.WORK.unpack(self._take("WORK")[0])
        self._active[self._descriptors] = w
        _Engine(self, w, self._descriptors, self.ticks)
        self._descriptors = (self._descriptors + 1) & 0xFFFFFFFF

    def _do_respond(self, a: Access) -> None:
        super()._do_respond(a)
        self._start()

    def _do_apply(self) -> None:
        super()._do_apply()
        self._start()

    def _start(self) -> None:
        """Descriptors start in ring order, each once its bytes are nobody else's; accesses arrive at once.

        What cannot go to the bus is parked, or ends, which may let more start.
        """
        while True:
            while self._work and not self._hazard(di.WORK.unpack(self._work[0])):
                self._row = self._work.popleft()
                index = self._descriptors
                self._do_work()
                self._arrive(index)
            self._arrive(None)
            hits = {a: any(t.perm & a.kind for t in self._hits(a)) for a in self.looking}
            behind = self._behind()
            self._again |= {a for a in behind if hits[a]}
            lost = [a for a in self.looking if not hits[a] and not (a in behind and a in self._again)]
            if not lost:
                return
            for a in lost:
                self._do_lookup(a)

    def _arrive(self, index: int | None) -> None:
        """The accesses of a descriptor, or of second halves of copies, in bursts; later ones may be late."""
        bursts = [_bursts(a) for a in self.arrivals]
        for a, several in zip(self.arrivals, bursts, strict=True):
            self._owner |= dict.fromkeys(several, self._owner[a])
        self.arrivals.clear()
        for i, a in enumerate(b for several in bursts for b in several):
            self._place[a] = (-1, 0) if index is None else (index, i)
            self.looking.append(a)
        self._again |= {b for several in bursts for b in several[1:]}

    def _behind(self) -> set[Access]:
        """Accesses behind an older one of their descriptor and direction: they look up again after it."""
        parked = (a for f in self.faults.values() for a in f.waiters)
        waits = [*self.looking, *self.waiting_fault, *parked]
        first: dict[tuple[int, int], int] = {}
        for a in waits:
            index, i = self._place[a]
            first[index, a.kind] = min(i, first.get((index, a.kind), i))
        return {a for a in self.looking if self._place[a][1] > first[self._place[a][0], a.kind]}

    def _hazard(self, w: dict[str, int]) -> bool:
        return any(_overlap(w, x) for x in self._active.values())


class _Engine(_Descriptor):
    """A descriptor that owns its accesses, and whose copy writes each burst when it has been read."""

    def _access(self, *args: Any) -> None:
        super()._access(*args)
        self.dev._owner[self.dev.arrivals[-1]] = self.index  # type: ignore[attr-defined]

    def _start_copy(self, va: int, src: int, size: int, at: int) -> None:
        for first, last in itertools.pairwise(_edges(src, size)):
            super()._start_copy(va + first - src, first, last - first, at + first - src)


def _edges(va: int, size: int) -> list[int]:
    """Where the engine's bursts of at most 16 bus words begin and end."""
    return [va, *range((va & -_WORD) + _BURST, va + size, _BURST), va + size]


def _bursts(a: Access) -> list[Access]:
    """An access as bursts of the engine."""
    edges = _edges(a.va, a.nbytes)
    if len(edges) == 2:
        return [a]
    whole = np.zeros(a.nbytes, np.uint8)
    if a.kind == WRITE:
        a.apply(whole)
    ended: list[int] = []

    def end(status: int) -> None:
        ended.append(status)
        if len(ended) == len(edges) - 1:
            if a.kind == READ and not any(ended):
                a.apply(whole)
            a.end(max(ended))

    def burst(first: int, last: int) -> Access:
        mine = whole[first - a.va : last - a.va]

        def apply(view: NDArray[np.uint8]) -> None:
            if a.kind == WRITE:
                view[:] = mine
            else:
                mine[:] = view

        return Access(a.pasid, first, last - first, a.kind, a.requester, apply, end)

    return [burst(first, last) for first, last in itertools.pairwise(edges)]


def _overlap(a: dict[str, int], b: dict[str, int]) -> bool:
    """The access engine's test (docs/device-interface.md): by the aligned blocks that hold the bytes."""
    pairs = [(x, y) for x in _blocks(a) for y in _blocks(b)]
    return a["pasid"] == b["pasid"] and any(
        (wx or wy) and x0 < y1 and y0 < x1 for (x0, x1, wx), (y0, y1, wy) in pairs
    )


def _blocks(w: dict[str, int]) -> list[tuple[int, int, bool]]:
    """The aligned power of two that holds each range of a descriptor, and whether it is written."""
    out = [_block(w["va"], w["len"], w["op"] != Work.READ)]
    return [*out, _block(w["src"], w["len"], False)] if w["op"] == Work.COPY else out


def _block(first: int, n: int, write: bool) -> tuple[int, int, bool]:
    size = 8
    while first // size != (first + max(n, 1) - 1) // size:
        size *= 2
    return first // size * size, (first // size + 1) * size, write
