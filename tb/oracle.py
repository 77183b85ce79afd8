"""The oracle: says from the bus, the rings and the host's memory management whether a run was right.

It knows nothing of the driver or of RTL internals. It sees every access at the bus side, every
record that passes the ring port, and what the host's mm does to frames and page-table entries. All
times are device cycles. docs/oracle.md lists the rules.

Input is fed in batches and judged with numpy; commands and records are walked one by one.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sw_model.device_interface import CMD, DONE, EVENT, FAULT, WORK, CmdError, Code, Event, Flag, Op
from sw_model.locking import is_freed

INF = 1 << 62
PAGE_SHIFT = (12, 21, 30)
READ, WRITE = 1, 2
PASID_MASK = (1 << 20) - 1
VPN_BITS = 36
TIME_BITS = 40
PREFETCH = 5000  # cycles that a command may lie in the device between its ring read and its effect

#: Fields that `feed` needs of an access. Of the further fields it uses `issued`, and the first it finds of
#: `t_bus` (the response on the bus side) and `t_mem` (memory was touched, 0: never) for the end of an access.
ACCESS_FIELDS = ("t_accept", "t_issue", "t_resp", "va", "bus", "user", "nbytes", "write", "resp")

_INVALIDATES = (Op.INVALIDATE, Op.INVALIDATE_PASID, Op.INVALIDATE_ALL, Op.DETACH)
_DRAINS = (*_INVALIDATES, Op.FENCE)
_FROM_DEVICE = ("FAULT", "EVENT", "DONE")
_RECORD = {"CMD": CMD, "FAULT": FAULT, "EVENT": EVENT, "WORK": WORK, "DONE": DONE}


class Violation(NamedTuple):
    """One broken rule, at a device cycle."""

    cycle: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"cycle {self.cycle} {self.rule}: {self.text}"


@dataclass
class Verdict:
    """What `finish` returns: violations (the first of each rule in detail) and what was looked at."""

    violations: list[Violation] = field(default_factory=list)
    total: int = 0
    rules: dict[str, int] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """True when no rule was broken."""
        return self.total == 0

    def __str__(self) -> str:
        seen = ", ".join(f"{v} {k}" for k, v in self.seen.items())
        if self.ok:
            return f"oracle: no violation ({seen})"
        per_rule = ", ".join(f"{v} {k}" for k, v in sorted(self.rules.items()))
        lines = [f"oracle: {self.total} violations: {per_rule} ({seen})"]
        return "\n".join(lines + [f"  {v}" for v in self.violations])


class _Table:
    """Columns of int64 that grow at the end."""

    def __init__(self, *names: str) -> None:
        self._cols = {n: np.empty(1024, dtype=np.int64) for n in names}
        self.n = 0

    def append(self, n: int = 1, **values: Any) -> int:
        """Append `n` rows; the index of the first."""
        first, self.n = self.n, self.n + n
        for name, col in self._cols.items():
            if self.n > len(col):
                col = np.concatenate([col, np.empty(max(len(col), n), dtype=np.int64)])
                self._cols[name] = col
            col[first : self.n] = values[name]
        return first

    def __getitem__(self, name: str) -> NDArray[np.int64]:
        return self._cols[name][: self.n]

    def row(self, i: int) -> dict[str, int]:
        """One row, by column name."""
        return {name: int(col[i]) for name, col in self._cols.items()}


class _Sorted:
    """Rows by (key, time), to find the last row of a key that starts at or before a time."""

    def __init__(self, key: NDArray, start: NDArray) -> None:
        self.order = np.lexsort((start, key))
        self.keys, ident = np.unique(key[self.order], return_inverse=True)
        self.ident = ident
        self.compound = (ident.astype(np.int64) << TIME_BITS) | start[self.order]

    def identify(self, key: NDArray) -> NDArray[np.int64]:
        """Small integers for keys, -1 for unknown ones."""
        if not len(self.keys):
            return np.full(len(key), -1, dtype=np.int64)
        at = np.minimum(np.searchsorted(self.keys, key), len(self.keys) - 1)
        return np.where(self.keys[at] == key, at, -1)

    def last(self, ident: NDArray, time: NDArray) -> NDArray[np.int64]:
        """Position in `order` of the last row of each key with start <= time, or -1."""
        time = np.clip(time, 0, (1 << TIME_BITS) - 1)
        at = np.searchsorted(self.compound, (ident << TIME_BITS) | time, side="right") - 1
        return np.where((ident >= 0) & self.holds(at, ident), at, -1)

    def holds(self, at: NDArray, ident: NDArray) -> NDArray[np.bool_]:
        """Whether the rows at these positions exist and belong to these keys."""
        if not len(self.ident):
            return np.zeros(len(at), dtype=bool)
        return (at >= 0) & (at < len(self.ident)) & (self.ident[np.clip(at, 0, len(self.ident) - 1)] == ident)


@dataclass(slots=True)
class _Command:
    pos: int
    cycle: int
    op: int
    tag: int
    pasid: int
    lo: int
    hi: int
    complete: bool
    rows: tuple[int, int] = (0, 0)
    done: int = -1
    error: int = 0

    def __str__(self) -> str:
        name = Op(self.op).name if self.op in Op._value2member_map_ else f"opcode {self.op}"
        return f"{name} (command {self.pos}, taken at {self.cycle})"


@dataclass(slots=True)
class _Fault:
    cycle: int
    pasid: int
    page: int
    access: int
    ident: int
    seq: int

    def __str__(self) -> str:
        return f"fault {self.ident} seq {self.seq} pasid {self.pasid} va {self.page << 12:#x}"


@dataclass(slots=True)
class _Ring:
    base: int
    log2: int
    count: int = 0


class Oracle:
    """Watches one device.

    `rings` maps CMD, FAULT, EVENT, WORK, DONE to (bus address, log2 of records); `bus_base` is the bus
    address of frame 0 of the mm; `now` gives the device cycle for mm events. Limits are in cycles,
    except `retry_limit`: fault records for one page without an access to it getting through.
    `frames` is the number of frames of the mm: those never allocated count as free.
    """

    def __init__(
        self,
        rings: dict[str, tuple[int, int]] | None = None,
        *,
        bus_base: int = 0,
        frames: int = 0,
        now: Callable[[], int] = lambda: 0,
        invalidate_limit: int = 20_000,
        answer_limit: int = 10_000_000,
        retry_limit: int = 64,
        allowed_errors: Iterable[int] = (),
        batch: int = 1 << 17,
        detail: int = 20,
    ) -> None:
        self.bus_base = bus_base
        self.now = now
        self.invalidate_limit = invalidate_limit
        self.answer_limit = answer_limit
        self.retry_limit = retry_limit
        self.allowed_errors = frozenset(int(e) for e in allowed_errors)
        self.batch = batch
        self.detail = detail
        self.rings: dict[str, _Ring] = {}
        for name, (base, log2) in (rings or {}).items():
            self.set_ring(name, base, log2)
        self.verdict = Verdict()
        self.seen: Tally[str] = Tally()

        self._accesses: list[NDArray] = []
        self._waiting_accesses = 0
        self._last_cycle = 0

        self._grants = _Table("pasid", "size", "page", "pa", "perm", "start", "end", "pos", "by")
        self._live: dict[tuple[int, int], dict[int, list[int]]] = defaultdict(dict)

        self._commands: list[_Command] = []
        self._to_complete: deque[_Command] = deque()
        self._to_revoke: deque[_Command] = deque()
        self._attached: dict[int, list[tuple[int, bool]]] = defaultdict(list)
        self._detaching: dict[int, _Command] = {}

        self._faults: dict[int, _Fault] = {}
        self._fault_pages: dict[tuple[int, int], _Fault] = {}
        self._forgotten: set[tuple[int, int]] = set()
        self._answered: set[tuple[int, int]] = set()
        self._answers: dict[tuple[int, int], list[tuple[int, int, int]]] = defaultdict(list)
        self._next_seq: int | None = None
        self._seq_gap_allowed = False
        self._retry_keys: list[int] = []
        self._retry_times: list[int] = []
        self._retries: dict[int, tuple[int, int]] = {}

        self._work: dict[int, int] = {}
        self._done: set[int] = set()

        self._free = _Table("pfn", "start", "end")
        self._open_free: dict[int, int] = {}
        self._has_frames = frames > 0
        if frames:
            self._free.append(frames, pfn=np.arange(frames), start=0, end=INF)
            self._open_free = {pfn: pfn for pfn in range(frames)}
        self._ptes = _Table("space", "vpn", "start", "end", "pfn", "perm")
        self._open_pte: dict[tuple[int, int], int] = {}
        self._spaces: dict[Any, int] = {}
        self._bound: dict[int, list[tuple[int, int]]] = defaultdict(list)

    # ---- set-up and the host's side

    def set_ring(self, name: str, base: int, log2: int) -> None:
        """A ring has been (re)enabled at a bus address; its counts are zero."""
        self.rings[name] = _Ring(base, log2)
        if name == "WORK":
            self._work, self._done = {}, set()

    def bind(self, pasid: int, space: Any) -> None:
        """From now on accesses of `pasid` belong to the address space `space` (any hashable)."""
        self._bound[pasid].append((self.now(), self._space(space)))

    def _space(self, space: Any) -> int:
        return self._spaces.setdefault(space, len(self._spaces))

    def frame_alloc(self, pfn: int, count: int = 1) -> None:
        """Frames leave the allocator."""
        t, self._has_frames = self.now(), True
        for p in range(pfn, pfn + count):
            row = self._open_free.pop(p, None)
            if row is not None:
                self._free["end"][row] = t

    def frame_free(self, pfn: int, count: int = 1) -> None:
        """Frames go back to the allocator."""
        t, self._has_frames = self.now(), True
        first = self._free.append(count, pfn=np.arange(pfn, pfn + count), start=t, end=INF)
        for i in range(count):
            if pfn + i in self._open_free:
                self._report(t, "double-free", f"frame {pfn + i:#x} is freed twice")
            self._open_free[pfn + i] = first + i

    def pte_set(self, space: Any, vpn: int, pfn: int, write: bool, count: int = 1) -> None:
        """`count` CPU page-table entries from `vpn` map frames from `pfn`."""
        t, s = self.now(), self._space(space)
        perm = READ | WRITE if write else READ
        end = self._ptes["end"]
        for v in range(vpn, vpn + count):
            row = self._open_pte.get((s, v))
            if row is not None:
                end[row] = t
        r = np.arange(count)
        first = self._ptes.append(count, space=s, vpn=vpn + r, start=t, end=INF, pfn=pfn + r, perm=perm)
        for i in range(count):
            self._open_pte[s, vpn + i] = first + i

    def pte_clear(self, space: Any, vpn: int, count: int = 1) -> None:
        """`count` CPU page-table entries from `vpn` map nothing any more."""
        t, s = self.now(), self._space(space)
        end = self._ptes["end"]
        for v in range(vpn, vpn + count):
            row = self._open_pte.pop((s, v), None)
            if row is not None:
                end[row] = t

    def watch(self, phys: Any) -> None:
        """Follow a `sw_model.phys.PhysMem` from now on: its frames, and the page tables over it."""
        free = np.flatnonzero(np.asarray(phys.refcount) == 0)
        self._has_frames = True
        first = self._free.append(len(free), pfn=free, start=self.now(), end=INF)
        self._open_free = {pfn: first + i for i, pfn in enumerate(free.tolist())}
        phys.add_observer(self)

    def on_frame_alloc(self, pfn: int, nr: int) -> None:
        """PhysMem observer."""
        self.frame_alloc(int(pfn), int(nr))

    def on_frame_free(self, pfn: int, nr: int) -> None:
        """PhysMem observer."""
        self.frame_free(int(pfn), int(nr))

    def on_pte_set(self, mm: Any, vaddr: int, pfn: int, nr_pages: int, writable: bool) -> None:
        """PhysMem observer."""
        self.pte_set(mm.mm_id, int(vaddr) >> 12, int(pfn), bool(writable), int(nr_pages))

    def on_pte_clear(self, mm: Any, vaddr: int, nr_pages: int) -> None:
        """PhysMem observer."""
        self.pte_clear(mm.mm_id, int(vaddr) >> 12, int(nr_pages))

    def on_device_pte(self, mm: Any, vaddr: int, frame: int, nr_pages: int, writable: bool) -> None:
        """PhysMem observer: an entry that only a device can use, of device memory or device-exclusive."""
        if frame < 0:
            self.pte_clear(mm.mm_id, int(vaddr) >> 12, int(nr_pages))
        else:
            self.pte_set(mm.mm_id, int(vaddr) >> 12, int(frame), bool(writable), int(nr_pages))

    # ---- the device's side

    def feed(self, accesses: NDArray, records: NDArray) -> None:
        """What the bus and the ring port saw since the last call; both up to the same cycle.

        Accesses have ACCESS_FIELDS, records `cycle`, `addr`, `write` and `data`.
        """
        if len(records):
            self._walk(records)
        if len(accesses):
            self._accesses.append(np.array(accesses))
            self._waiting_accesses += len(accesses)
            if self._waiting_accesses >= self.batch:
                self._judge()

    def finish(self, pending: int | NDArray = 0) -> Verdict:
        """Judge what is left; `pending` are the accesses (or their number) without a response."""
        self._judge()
        end = max(self._last_cycle, self.now())
        count = pending if isinstance(pending, int) else len(pending)
        if count:
            text = f"{count} accesses have no response at the end"
            if not isinstance(pending, int):
                first = pending[0]
                text += f"; the first: pasid {int(first['user']) & PASID_MASK} va {int(first['va']):#x}"
            self._report(end, "stuck-access", text)
        for f in self._faults.values():
            self._report(f.cycle, "unanswered-fault", f"{f} was never answered")
        for c in self._to_complete:
            self._report(c.cycle, "stuck-command", f"{c} never completed")
        for index in sorted(set(self._work) - self._done):
            text = f"descriptor {index} has no completion"
            self._report(self._work[index], "lost-work", text)
        self._judge_grants(end)
        v = self.verdict
        v.seen = {
            "accesses": self.seen["accesses"],
            "commands": len(self._commands),
            "grants": self._grants.n,
            "revoked": int((self._grants["end"] < INF).sum()),
            "faults": self.seen["faults"],
            "page-table entries": self._ptes.n,
        }
        v.violations.sort(key=lambda x: x.cycle)
        return v

    def account(self, problems: Iterable[str]) -> None:
        """Report what an accounting check at exit found (see `check_accounting`)."""
        for p in problems:
            self._report(max(self._last_cycle, self.now()), "accounting", p)

    def _report(self, cycle: int, rule: str, text: str) -> None:
        v = self.verdict
        v.total += 1
        v.rules[rule] = v.rules.get(rule, 0) + 1
        if v.rules[rule] <= self.detail:
            v.violations.append(Violation(int(cycle), rule, text))

    # ---- rings

    def _walk(self, records: NDArray) -> None:
        data = np.ascontiguousarray(records["data"]).astype(np.uint64, copy=False)
        addr = records["addr"].astype(np.int64)
        write = records["write"].astype(bool)
        cycle = records["cycle"].astype(np.int64).tolist()
        which = np.full(len(records), -1)
        names = list(self.rings)
        fields: list[list[dict[str, int]]] = []
        local = np.zeros(len(records), dtype=np.int64)
        for i, name in enumerate(names):
            ring = self.rings[name]
            mine = (addr >= ring.base) & (addr < ring.base + (32 << ring.log2))
            which[mine] = i
            local[mine] = np.arange(int(mine.sum()))
            rows, rec = data[mine], _RECORD[name]
            cols = {f.lower(): rec.get(rows, f).tolist() for f in rec.fields}
            fields.append([dict(zip(cols, vals, strict=True)) for vals in zip(*cols.values(), strict=True)])
        take = {
            "CMD": self._take_command,
            "FAULT": self._take_fault,
            "EVENT": self._take_event,
            "WORK": self._take_work,
            "DONE": self._take_done,
        }
        self._last_cycle = max(self._last_cycle, cycle[-1])
        for k, (i, w, a) in enumerate(zip(which.tolist(), write.tolist(), addr.tolist(), strict=True)):
            if i < 0:
                self._report(cycle[k], "ring-address", f"ring access at {a:#x} is outside every ring")
                continue
            name = names[i]
            ring = self.rings[name]
            if w != (name in _FROM_DEVICE):
                self._report(cycle[k], "ring-direction", f"the device {'wrote' if w else 'read'} {name}")
                continue
            slot = ring.count & ((1 << ring.log2) - 1)
            if a != ring.base + 32 * slot:
                text = f"{name} record {ring.count} is at {a:#x}, not in slot {slot}"
                self._report(cycle[k], "ring-order", text)
                ring.count += ((a - ring.base) // 32 - slot) % (1 << ring.log2)
            rec = fields[i][local[k]]
            if w and rec["phase"] != 1 - (ring.count >> ring.log2 & 1):
                self._report(cycle[k], "ring-phase", f"{name} record {ring.count} has the wrong phase")
            take[name](ring.count, cycle[k], rec)
            ring.count += 1

    def _take_command(self, pos: int, cycle: int, r: dict[str, int]) -> None:
        op, pasid = r["op"], r["pasid"]
        lo = r["va"] >> 12
        hi = lo + r["npages"]
        if op in (Op.INVALIDATE_PASID, Op.INVALIDATE_ALL, Op.DETACH):
            lo, hi = 0, 1 << VPN_BITS
        complete = bool(r["flags"] & Flag.COMPLETE)
        c = _Command(len(self._commands), cycle, op, r["tag"], pasid, lo, hi, complete)
        self._commands.append(c)
        self._to_complete.append(c) if complete else None
        if op == Op.FILL:
            self._grant(c, r)
        elif op == Op.RESPOND:
            self._answer(c, r)
        elif op in _INVALIDATES:
            self.seen["invalidations"] += 1
            self._to_revoke.append(c)
            if op == Op.DETACH:
                self._detach(c)
        elif op == Op.ATTACH:
            if pasid in self._detaching:
                text = f"pasid {pasid} is attached again before {self._detaching[pasid]} completed"
                self._report(cycle, "early-attach", text)
            self._attached[pasid].append((cycle, True))

    def _is_attached(self, pasid: int) -> bool:
        history = self._attached.get(pasid)
        return history[-1][1] if history else False

    def _grant(self, c: _Command, r: dict[str, int]) -> None:
        size, n = r["size"], r["npages"]
        if size > 2 or n == 0 or n << PAGE_SHIFT[size] > 1 << 48:
            return
        shift = PAGE_SHIFT[size]
        first = r["va"] >> shift
        i = np.arange(n, dtype=np.int64)
        row = self._grants.append(
            n,
            pasid=c.pasid,
            size=size,
            page=first + i,
            pa=r["pa"] + (i << shift),
            perm=r["perm"],
            start=c.cycle,
            end=INF,
            pos=c.pos,
            by=-1,
        )
        c.rows = (row, row + n)
        live = self._live[c.pasid, size]
        for k in range(n):
            live.setdefault(first + k, []).append(row + k)

    def _revoke(self, c: _Command, cycle: int) -> None:
        end, by, pos = self._grants["end"], self._grants["by"], self._grants["pos"]
        for (pasid, size), live in self._live.items():
            if c.op != Op.INVALIDATE_ALL and pasid != c.pasid:
                continue
            order = PAGE_SHIFT[size] - 12
            lo, hi = c.lo >> order, ((c.hi - 1) >> order) + 1
            pages = range(lo, hi) if hi - lo <= len(live) else [p for p in live if lo <= p < hi]
            for page in pages:
                rows = live.get(page)
                if rows is None:
                    continue
                keep = [row for row in rows if pos[row] > c.pos]
                for row in rows:
                    if pos[row] < c.pos:
                        end[row], by[row] = cycle, c.pos
                if keep:
                    live[page] = keep
                else:
                    del live[page]

    def _void(self, c: _Command) -> None:
        """A FILL that the device refused grants nothing."""
        live = self._live[c.pasid, int(self._grants["size"][c.rows[0]])]
        for row in range(*c.rows):
            self._grants["end"][row] = self._grants["start"][row] - 1
            self._grants["by"][row] = c.pos
            rows = live.get(int(self._grants["page"][row]), [])
            if row in rows:
                rows.remove(row)

    def _detach(self, c: _Command) -> None:
        if self._is_attached(c.pasid):
            self._attached[c.pasid].append((c.cycle, False))
        self._detaching[c.pasid] = c
        self._seq_gap_allowed = True
        for f in [f for f in self._faults.values() if f.pasid == c.pasid]:
            self._forget(f)

    def _forget(self, f: _Fault) -> None:
        self._forgotten.add((f.ident, f.seq))
        self._faults.pop(f.ident, None)
        self._fault_pages.pop((f.pasid, f.page), None)

    def _answer(self, c: _Command, r: dict[str, int]) -> None:
        key = (r["fault"], r["seq"])
        f = self._faults.get(r["fault"])
        if f is not None and f.seq == r["seq"]:
            del self._faults[f.ident]
            self._fault_pages.pop((f.pasid, f.page), None)
            self._answered.add(key)
            self._answers[f.pasid, f.page].append((c.cycle, r["code"], f.access))
            if c.cycle - f.cycle > self.answer_limit:
                self._report(c.cycle, "late-answer", f"{f} was answered after {c.cycle - f.cycle} cycles")
        elif key in self._answered:
            self._report(c.cycle, "double-answer", f"fault {key[0]} seq {key[1]} is answered again by {c}")
        elif key not in self._forgotten:
            text = f"{c} answers fault {key[0]} seq {key[1]}: no such record"
            self._report(c.cycle, "unknown-answer", text)

    def _take_event(self, pos: int, cycle: int, r: dict[str, int]) -> None:
        if r["type"] == Event.COMMAND_ERROR:
            self._command_error(cycle, r)
            return
        if r["type"] == Event.LINK_ERROR:
            return  # the access that it is about ends with an error: judged there
        queue = self._to_complete

        def matches(c: _Command) -> bool:
            mask = (1 << self.rings["CMD"].log2) - 1
            return (c.tag, c.op, c.pos & mask) == (r["tag"], r["op"], r["index"] & mask)

        what = f"completion of tag {r['tag']} (opcode {r['op']}, index {r['index']})"
        at = next((i for i, c in enumerate(queue) if matches(c)), None)
        if r["type"] != Event.COMPLETE or at is None:
            self._report(cycle, "unknown-completion", f"{what} matches no command")
            return
        c = queue[at]
        if at:
            self._report(cycle, "completion-order", f"{what} passes {queue[0]}")
        del queue[at]
        c.done = cycle
        while self._to_revoke and self._to_revoke[0].pos <= c.pos and c.op in _DRAINS:
            inv = self._to_revoke.popleft()
            self._revoke(inv, cycle)
            if inv.op == Op.DETACH:
                self._detaching.pop(inv.pasid, None)
                for f in [f for f in self._faults.values() if f.pasid == inv.pasid]:
                    if not self._is_attached(f.pasid):
                        self._forget(f)
        if c.op in _INVALIDATES and cycle - c.cycle > self.invalidate_limit:
            text = f"{c} completed after {cycle - c.cycle} cycles (limit {self.invalidate_limit})"
            self._report(cycle, "slow-invalidation", text)

    def _command_error(self, cycle: int, r: dict[str, int]) -> None:
        mask = (1 << self.rings["CMD"].log2) - 1
        for c in reversed(self._commands):
            if c.pos & mask == r["index"] & mask:
                break
        else:
            self._report(cycle, "unknown-completion", f"error event for index {r['index']}: no such command")
            return
        c.error = r["status"]
        if c.rows[1] > c.rows[0]:
            self._void(c)
        for queue in (self._to_complete, self._to_revoke):
            if c in queue:
                queue.remove(c)
        if c.op == Op.ATTACH and self._is_attached(c.pasid):
            self._attached[c.pasid].pop()
        self._detaching.pop(c.pasid, None) if c.op == Op.DETACH else None
        if c.error not in self.allowed_errors:
            known = CmdError._value2member_map_
            reason = CmdError(c.error).name if c.error in known else str(c.error)
            self._report(cycle, "command-error", f"{c} pasid {c.pasid} was refused: {reason}")

    def _take_fault(self, pos: int, cycle: int, r: dict[str, int]) -> None:
        f = _Fault(cycle, r["pasid"], r["va"] >> 12, r["access"], r["fault"], r["seq"])
        self.seen["faults"] += 1
        if self._next_seq is not None and f.seq != self._next_seq and not self._seq_gap_allowed:
            self._report(cycle, "lost-fault", f"{f}: records up to seq {self._next_seq} are missing")
        self._next_seq = (f.seq + 1) & 0xFFFFFFFF
        self._seq_gap_allowed = bool(self._detaching)
        if not f.access:
            self._report(cycle, "fault-record", f"{f} asks for no access")
        if not self._is_attached(f.pasid):
            if f.pasid not in self._detaching:
                self._report(cycle, "fault-after-detach", f"{f}: the pasid is not attached")
            self._forgotten.add((f.ident, f.seq))
            return
        old = self._faults.get(f.ident)
        if old is not None:
            self._report(cycle, "fault-identifier", f"{f} reuses the identifier of unanswered {old}")
        old = self._fault_pages.get((f.pasid, f.page))
        if old is not None and old.ident != f.ident:
            self._report(cycle, "duplicate-fault", f"{f}: {old} is outstanding")
        self._faults[f.ident] = f
        self._fault_pages[f.pasid, f.page] = f
        self._retry_keys.append(_retry_key(f.pasid, f.page, f.access >> 1))
        self._retry_times.append(cycle)

    def _take_work(self, pos: int, cycle: int, r: dict[str, int]) -> None:
        self.seen["descriptors"] += 1
        if r["flags"] & Flag.COMPLETE:
            self._work[pos & 0xFFFFFFFF] = cycle

    def _take_done(self, pos: int, cycle: int, r: dict[str, int]) -> None:
        index = r["index"]
        if index not in self._work:
            self._report(cycle, "unknown-work", f"completion of descriptor {index}: never taken")
        elif index in self._done:
            self._report(cycle, "double-work", f"descriptor {index} completes twice")
        self._done.add(index)

    # ---- accesses

    def _judge(self) -> None:
        if self._accesses:
            a = np.concatenate(self._accesses)
            self._accesses, self._waiting_accesses = [], 0
            self.seen["accesses"] += len(a)
            self._judge_accesses(_columns(a))
        elif self._retry_keys:
            self._judge_retries(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))

    def _judge_accesses(self, a: dict[str, NDArray[np.int64]]) -> None:
        self._last_cycle = max(self._last_cycle, int(a["t_resp"].max()))
        a["pasid"] = a["user"] & PASID_MASK
        issued = a["issued"] > 0
        failed = ~issued
        for i in np.flatnonzero(failed & (a["resp"] < 2)):
            text = f"{_access(a, i)} succeeded but never reached the bus"
            self._report(a["t_resp"][i], "false-success", text)
        for i in np.flatnonzero(failed & (a["resp"] >= 2)):
            self._judge_error(a, int(i))
        a = {k: v[issued] for k, v in a.items()}
        for i in np.flatnonzero((a["va"] & 4095) + a["nbytes"] > 4096 + 64):
            self._report(a["t_issue"][i], "page-crossing", f"{_access(a, i)} crosses a page")
        wrong = (a["t_end"] < a["t_issue"]) | (a["t_resp"] < a["t_end"]) | (a["t_issue"] < a["t_accept"])
        for i in np.flatnonzero(wrong):
            text = f"{_access(a, i)}: accepted, issued, answered out of order"
            self._report(a["t_resp"][i], "response-order", text)
        bad = self._unmatched(a)
        for n, i in enumerate(bad):
            if n < 4 * self.detail:
                self._explain(a, int(i))
            else:
                self._report(a["t_end"][i], "no-grant", f"{_access(a, i)}: one more")
        self._judge_frames(a, bad)
        ok = a["resp"] < 2
        keys = _retry_key(a["pasid"][ok], a["va"][ok] >> 12, a["write"][ok])
        self._judge_retries(keys, a["t_resp"][ok])

    def _unmatched(self, a: dict[str, NDArray[np.int64]]) -> NDArray[np.int64]:
        """Indices of accesses that no one grant covers from issue to response."""
        g = self._grants
        todo = np.arange(len(a["va"]))
        if not len(todo):
            return todo
        need = np.where(a["write"] > 0, WRITE, READ)
        recent = np.flatnonzero(g["end"] >= a["t_issue"].min())
        for size, shift in enumerate(PAGE_SHIFT):
            rows = recent[g["size"][recent] == size]
            if not len(rows) or not len(todo):
                continue
            table = _Sorted((g["pasid"][rows] << VPN_BITS) | g["page"][rows], g["start"][rows])
            rows = rows[table.order]
            end, perm, pa = g["end"][rows], g["perm"][rows], g["pa"][rows]
            key = (a["pasid"][todo] << VPN_BITS) | (a["va"][todo] >> shift)
            ident = table.identify(key)
            at = table.last(ident, a["t_issue"][todo])
            matched = np.zeros(len(todo), dtype=bool)
            look = np.flatnonzero(at >= 0)
            while len(look):
                t, p = todo[look], at[look]
                hit = (end[p] >= a["t_end"][t]) & ((perm[p] & need[t]) > 0)
                hit &= pa[p] + (a["va"][t] & ((1 << shift) - 1)) == a["bus"][t]
                matched[look[hit]] = True
                look = look[~hit]
                at[look] -= 1
                look = look[table.holds(at[look], ident[look])]
            todo = todo[~matched]
        return todo

    def _explain(self, a: dict[str, NDArray[np.int64]], i: int) -> None:
        """Find the rule that an access without a grant broke, and the grant that comes nearest."""
        g = self._grants
        va, pasid, bus = int(a["va"][i]), int(a["pasid"][i]), int(a["bus"][i])
        issue, resp = int(a["t_issue"][i]), int(a["t_end"][i])
        need = WRITE if a["write"][i] else READ
        shift = np.take(PAGE_SHIFT, g["size"])
        here = (va >> shift) == g["page"]
        same = g["pa"] + (va & ((1 << shift) - 1)) == bus
        mine = g["pasid"] == pasid
        started = g["start"] <= issue
        alive = g["end"] >= resp
        allowed = (g["perm"] & need) > 0
        tests = (
            ("stale-access", here & same & mine & started & ~alive & allowed),
            ("permission", here & same & mine & started & alive & ~allowed),
            ("early-access", here & same & mine & ~started & allowed),
            ("wrong-pasid", here & same & ~mine & started),
            ("wrong-frame", here & mine & started & alive),
            ("no-grant", here & mine),
        )
        for rule, mask in tests:
            rows = np.flatnonzero(mask)
            if len(rows):
                best = int(rows[np.argmax(g["end"][rows] if rule == "stale-access" else rows)])
                self._report(resp, rule, f"{_access(a, i)}: {self._grant_text(best)}")
                return
        self._report(resp, "no-grant", f"{_access(a, i)}: the page was never filled")

    def _grant_text(self, row: int) -> str:
        g = self._grants.row(row)
        name = ("4K", "2M", "1G")[g["size"]]
        perm = ("none", "read", "write", "read/write")[g["perm"]]
        text = f"grant {row} {name} {perm} pasid {g['pasid']} va {g['page'] << PAGE_SHIFT[g['size']]:#x}"
        text += f" -> frame {self._pfn(g['pa']):#x}, filled at {g['start']} by command {g['pos']}"
        if g["end"] < INF:
            c = self._commands[g["by"]]
            text += f", refused: {c}" if c.error else f", revoked at {g['end']} by {c}"
        return text

    def _pfn(self, bus: int) -> int:
        return (bus - self.bus_base) >> 12

    def _judge_error(self, a: dict[str, NDArray[np.int64]], i: int) -> None:
        """An access that the MMU ended must have had a reason to end so."""
        pasid, page = int(a["pasid"][i]), int(a["va"][i]) >> 12
        begin, end, resp = int(a["t_accept"][i]) - PREFETCH, int(a["t_resp"][i]), int(a["resp"][i])
        self.seen["errors"] += 1
        code = Code.INVALID if resp == 2 else Code.FAILURE
        if any(begin <= t <= end and k == code for t, k, _ in self._answers.get((pasid, page), ())):
            return
        if resp == 3:
            crosses = (int(a["va"][i]) & 4095) + int(a["nbytes"][i]) > 4096
            history = self._attached.get(pasid, [])
            states = [on for t, on in history if begin <= t <= end]
            before = [on for t, on in history if t < begin]
            states.append(before[-1] if before else False)
            if crosses or page >> VPN_BITS or not all(states):
                return
        text = f"{_access(a, i)} ended with {'SLVERR' if resp == 2 else 'DECERR'} for no reason"
        self._report(end, "false-error", text)

    def _judge_frames(self, a: dict[str, NDArray[np.int64]], known: NDArray) -> None:
        """No access overlaps in time an interval in which its frame is free."""
        if not self._has_frames or not len(a["va"]):
            return
        f = self._free
        if not f.n:
            return
        table = _Sorted(f["pfn"], f["start"])
        ident = table.identify((a["bus"] - self.bus_base) >> 12)
        at = table.last(ident, a["t_end"] - 1)
        end = f["end"][table.order]
        bad = (at >= 0) & (end[at] > a["t_issue"])
        for i in np.flatnonzero(bad):
            row = table.order[at[i]]
            text = f"{_access(a, i)}: frame {int(f['pfn'][row]):#x} is free since {int(f['start'][row])}"
            self._report(a["t_end"][i], "freed-frame", text)

    def _judge_retries(self, keys: NDArray[np.int64], times: NDArray[np.int64]) -> None:
        """Faults on one page with no access to it getting through in between are bounded."""
        fault_keys = np.array(self._retry_keys, dtype=np.int64)
        fault_times = np.array(self._retry_times, dtype=np.int64)
        self._retry_keys, self._retry_times = [], []
        if self._retries or len(fault_keys):
            known = np.union1d(fault_keys, np.fromiter(self._retries, np.int64, len(self._retries)))
            mine = np.isin(keys, known)
            keys, times = keys[mine], times[mine]
        else:
            keys, times = keys[:0], times[:0]
        order = np.argsort(times, kind="stable")
        table = _Sorted(keys[order], times[order])
        ident = table.identify(fault_keys)
        through = table.last(ident, fault_times)
        for key, t, at in zip(fault_keys.tolist(), fault_times.tolist(), through.tolist(), strict=True):
            run, mark = self._retries.get(key, (0, -1))
            run = run + 1 if at == mark else 1
            self._retries[key] = (run, at)
            if run == self.retry_limit + 1:
                va = (key >> 1 & ((1 << VPN_BITS) - 1)) << 12
                kind = "write" if key & 1 else "read"
                text = f"{kind} of pasid {key >> 37} va {va:#x} faulted {run} times, no access got through"
                self._report(t, "retry-storm", text)
        # Marks are positions in this batch's table: carry over only what is still running.
        running = np.fromiter(self._retries, np.int64, len(self._retries))
        last = table.last(table.identify(running), np.full(len(running), INF))
        self._retries = {
            k: (run, -1)
            for (k, (run, mark)), at in zip(self._retries.items(), last.tolist(), strict=True)
            if at == mark
        }

    # ---- grants against the CPU's page tables and the allocator

    def _judge_grants(self, now: int) -> None:
        """A grant's frame stays allocated, and the CPU maps it so, from the fill to the revocation."""
        g = self._grants
        voided = g["end"] < g["start"]
        rows = np.flatnonzero(~voided & (g["size"] < 2))
        if not len(rows) or not (self._has_frames or self._ptes.n):
            return
        per = np.where(g["size"][rows] == 1, 512, 1)
        owner = np.repeat(rows, per)
        offset = np.arange(len(owner)) - np.repeat(np.cumsum(per) - per, per)
        start, end = g["start"][owner], np.minimum(g["end"][owner], now)
        pfn = ((g["pa"][owner] - self.bus_base) >> 12) + offset
        vpn = (g["page"][owner] << np.where(g["size"][owner] == 1, 9, 0)) + offset
        if self._free.n:
            self._grants_of_free_frames(owner, pfn, start, end)
        if self._ptes.n:
            self._grants_without_pte(owner, pfn, vpn, start, end)

    def _grants_of_free_frames(self, owner: NDArray, pfn: NDArray, start: NDArray, end: NDArray) -> None:
        f = self._free
        table = _Sorted(f["pfn"], f["start"])
        at = table.last(table.identify(pfn), end - 1)
        bad = np.flatnonzero((at >= 0) & (f["end"][table.order][at] > start))
        for i in bad[np.unique(owner[bad], return_index=True)[1]]:
            freed = int(f["start"][table.order[at[i]]])
            text = f"frame {int(pfn[i]):#x} is free since {freed} under {self._grant_text(int(owner[i]))}"
            self._report(max(freed, int(start[i])), "freed-under-grant", text)

    def _grants_without_pte(
        self, owner: NDArray, pfn: NDArray, vpn: NDArray, start: NDArray, end: NDArray
    ) -> None:
        g, p = self._grants, self._ptes
        space = np.full(len(owner), -1, dtype=np.int64)
        for pasid, history in self._bound.items():
            for t, s in history:
                space[(g["pasid"][owner] == pasid) & (start >= t)] = s
        table = _Sorted((p["space"] << VPN_BITS) | p["vpn"], p["start"])
        p_start, p_end, p_pfn, p_perm = (p[k][table.order] for k in ("start", "end", "pfn", "perm"))
        ident = table.identify((space << VPN_BITS) | vpn)
        ident[space < 0] = -1
        need = g["perm"][owner]
        at = table.last(ident, start)
        reached = np.full(len(owner), -1, dtype=np.int64)
        # A fill at the very cycle of a change may see the entry before it.
        tie = np.flatnonzero((at > 0) & (p_start[at] == start))
        tie = tie[table.holds(at[tie] - 1, ident[tie])]
        prev = at[tie] - 1
        tie = tie[(p_end[prev] == start[tie]) & (p_pfn[prev] == pfn[tie])]
        reached[tie] = start[tie]
        look = np.flatnonzero(at >= 0)
        wanted = start.copy()
        while len(look):
            q = at[look]
            good = (p_pfn[q] == pfn[look]) & ((p_perm[q] & need[look]) == need[look])
            good &= (p_start[q] <= wanted[look]) & (p_end[q] >= wanted[look])
            look, q = look[good], q[good]
            reached[look] = wanted[look] = p_end[q]
            more = p_end[q] < end[look]
            look = look[more]
            at[look] += 1
            look = look[table.holds(at[look], ident[look])]
        bad = np.flatnonzero(reached < end)
        for i in bad[np.unique(owner[bad], return_index=True)[1]]:
            text = self._grant_text(int(owner[i]))
            if reached[i] < start[i]:
                others = p["space"][(p["pfn"] == pfn[i]) & (p["start"] <= end[i]) & (p["end"] >= start[i])]
                foreign = len(others) and space[i] not in others
                rule = "foreign-frame" if foreign else "fill-without-pte"
                what = "only another process maps" if foreign else "the CPU does not map (so)"
                self._report(int(start[i]), rule, f"{what} frame {int(pfn[i]):#x} at {text}")
            else:
                lost = int(reached[i])
                self._report(lost, "pte-lost", f"the CPU's entry changed at {lost} under {text}")


def _retry_key(pasid: Any, page: Any, write: Any) -> Any:
    return (pasid << 37) | ((page & ((1 << VPN_BITS) - 1)) << 1) | write


def _columns(a: NDArray) -> dict[str, NDArray[np.int64]]:
    names = a.dtype.names or ()
    c = {name: a[name].astype(np.int64) for name in ACCESS_FIELDS}
    c["issued"] = a["issued"].astype(np.int64) if "issued" in names else (c["t_issue"] > 0).astype(np.int64)
    if "t_bus" in names:
        c["t_end"] = a["t_bus"].astype(np.int64)
    elif "t_mem" in names:
        c["t_end"] = np.where(a["t_mem"] > 0, a["t_mem"].astype(np.int64), c["t_issue"])
    else:
        c["t_end"] = c["t_resp"]
    return c


def _access(a: dict[str, NDArray[np.int64]], i: int | np.integer) -> str:
    kind = "write" if a["write"][i] else "read"
    text = f"{kind} of pasid {a['pasid'][i]} va {a['va'][i]:#x}"
    if a["t_issue"][i] > 0:
        text += f" at bus {a['bus'][i]:#x}, issued {a['t_issue'][i]}, response {a['t_end'][i]}"
    return text


def check_accounting(phys: Any = None, mms: Iterable[Any] = (), hmms: Iterable[Any] = ()) -> list[str]:
    """References, users and pins that have not gone back after the last exit; empty when all balance.

    `mms` are mm_structs whose processes have exited and whose drivers have detached; `hmms` have a
    `kref` (struct hmm) and must be gone.
    """
    out: list[str] = []
    for mm in mms:
        if is_freed(mm):
            continue
        name = f"{mm.name} (mm {mm.mm_id})"
        if mm.mm_users:
            out.append(f"{name}: mm_users is {mm.mm_users}, not 0")
        if mm.mm_count:
            out.append(f"{name}: mm_count is {mm.mm_count}, not 0")
        if getattr(mm, "hmm", None) is not None and not mm.mm_count:
            out.append(f"{name}: freed with an hmm")
    for h in hmms:
        if h.kref.read():
            out.append(f"{h.kref.name}: {h.kref.read()} references are left")
    if phys is not None:
        out += phys.check_balance()
    return out
