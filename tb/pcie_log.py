"""The device's buses as the oracle wants them: tb/pcie_monitor.v's lines become access and ring record logs.

Accesses on the virtual-address side are matched with the bus side as the harness does it: per direction and
ID, in order, by length, user bits and offset in the page.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tb.sim import ACCESS_DTYPE, RECORD_DTYPE

#: An access of the log, with the cycle of its response on the bus side: the end of it for the oracle.
PCIE_ACCESS_DTYPE = np.dtype([*((n, ACCESS_DTYPE[n]) for n in ACCESS_DTYPE.names or ()), ("t_bus", "<u8")])


_ROW = ("t_accept", "t_issue", "t_bus", "t_resp", "va", "bus", "user", "nbytes", "seq", "id", "write", "resp",
        "lock", "issued")  # fmt: skip


@dataclass
class _Bus:
    t_issue: int
    addr: int
    size: int
    lock: int
    length: int
    user: int
    t_end: int = 0
    resp: int = 0


@dataclass
class _Access:
    t_accept: int
    va: int
    user: int
    length: int
    seq: int
    bus: _Bus | None = None


@dataclass
class BusLog:
    """Reads the monitor's file from where it ends now; `origin_ns` is cycle 0, `cycle_ns` a cycle."""

    path: Path
    data_bytes: int
    origin_ns: int
    cycle_ns: int = 4
    errors: list[str] = field(default_factory=list)
    outstanding: int = 0
    reads: int = 0
    writes: int = 0

    def __post_init__(self) -> None:
        self.file = self.path.open()
        self.file.seek(0, 2)
        self.rest = ""
        self.seq = 0
        self.open: dict[tuple[int, int], deque[_Access]] = defaultdict(deque)
        self.on_bus: dict[tuple[int, int], deque[_Bus]] = defaultdict(deque)
        self.fetches: dict[int, deque[int]] = defaultdict(deque)
        self.posts: dict[int, deque[tuple[int, int]]] = defaultdict(deque)
        self.rows: list[tuple[int, ...]] = []
        self.records: list[tuple[int, int, tuple[int, ...], int, int]] = []

    def drain(self) -> tuple[NDArray, NDArray]:
        """Accesses that have ended and ring records since the last call."""
        text = self.rest + self.file.read()
        *lines, self.rest = text.split("\n")
        for line in lines:
            kind, *words = line.split(" ")
            time, *args = [int(w, 16) for w in words]
            getattr(self, f"_{kind}")((time - self.origin_ns) // self.cycle_ns, *args)
        accesses = np.zeros(len(self.rows), PCIE_ACCESS_DTYPE)
        for k, name in enumerate(_ROW):
            accesses[name] = [row[k] for row in self.rows]
        records = np.zeros(len(self.records), RECORD_DTYPE)
        for k, record in enumerate(self.records):
            records[k] = record
        self.rows, self.records = [], []
        return accesses, records

    def forget(self) -> None:
        """The device was reset: what was open is gone."""
        self.drain()
        for queues in (self.open, self.on_bus, self.fetches, self.posts):
            queues.clear()
        self.outstanding = 0

    def _accept(self, t: int, write: int, ident: int, length: int, user: int, va: int) -> None:
        self.open[write, ident].append(_Access(t, va, user, length, self.seq))
        self.seq += 1
        self.outstanding += 1
        self.reads += 1 - write
        self.writes += write

    def _issue(
        self, t: int, write: int, ident: int, length: int, user: int, addr: int, size: int, lock: int
    ) -> None:
        bus = _Bus(t, addr, size, lock, length, user)
        self.on_bus[write, ident].append(bus)
        for a in self.open[write, ident]:
            if a.bus is None and a.length == length and a.user == user and not (a.va ^ addr) & 0xFFF:
                a.bus = bus
                return
        self.errors.append(f"cycle {t}: bus access of id {ident} at {addr:#x} matches no access")

    def _end(self, t: int, write: int, ident: int, resp: int) -> None:
        if not self.on_bus[write, ident]:
            self.errors.append(f"cycle {t}: bus response of id {ident} without a bus access")
            return
        bus = self.on_bus[write, ident].popleft()
        bus.t_end, bus.resp = t, resp

    def _reassign(self, write: int, ident: int) -> None:
        """The MMU answered the head itself: the bus access matched to it is the next alike's."""
        queue = self.open[write, ident]
        head, moved = queue[0], queue[0].bus
        head.bus = None
        for a in list(queue)[1:]:
            if a.length == head.length and a.user == head.user and not (a.va ^ head.va) & 0xFFF:
                a.bus, moved = moved, a.bus
            if moved is None:
                return
        self.errors.append(f"response of id {ident} before its bus response")

    def _answer(self, t: int, write: int, ident: int, resp: int) -> None:
        queue = self.open[write, ident]
        if not queue:
            self.errors.append(f"cycle {t}: response of id {ident} without an access")
            return
        if queue[0].bus is not None and not queue[0].bus.t_end:
            self._reassign(write, ident)
        a = queue.popleft()
        self.outstanding -= 1
        bus, size = a.bus, self.data_bytes.bit_length() - 1
        if bus is not None:
            size = bus.size
            if bus.resp != resp:
                self.errors.append(f"cycle {t}: id {ident} has response {resp}, the bus said {bus.resp}")
        elif resp < 2:
            self.errors.append(f"cycle {t}: id {ident} va {a.va:#x} succeeded without a bus access")
        nbytes = ((a.length + 1) << size) - (a.va & ((1 << size) - 1))
        b = bus or _Bus(0, 0, size, 0, 0, 0, 0)
        times = a.t_accept, b.t_issue, b.t_end, t
        rest = nbytes, a.seq, ident, write, resp, b.lock, int(bus is not None)
        self.rows.append((*times, a.va, b.addr, a.user, *rest))

    def _fetch(self, t: int, ident: int, addr: int) -> None:
        self.fetches[ident].append(addr)

    def _record(self, t: int, ident: int, resp: int, last: int, data: int) -> None:
        addr = self.fetches[ident][0]
        self._log(t, addr, data, 0, resp)
        self.fetches[ident][0] += 32
        if last:
            self.fetches[ident].popleft()

    def _post(self, t: int, ident: int, addr: int, data: int) -> None:
        self.posts[ident].append((addr, data))

    def _posted(self, t: int, ident: int, resp: int) -> None:
        addr, data = self.posts[ident].popleft()
        self._log(t, addr, data, 1, resp)

    def _log(self, t: int, addr: int, data: int, write: int, resp: int) -> None:
        words = tuple(data >> 64 * k & (1 << 64) - 1 for k in range(4))
        self.records.append((t, addr, words, write, resp))
