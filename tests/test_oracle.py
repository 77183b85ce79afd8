"""The oracle on synthetic logs: legal ones are silent, and each rule fires on a log that breaks it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sw_model.device_interface import (
    CMD,
    DONE,
    EVENT,
    FAULT,
    WORK,
    CmdError,
    Code,
    Event,
    Flag,
    Op,
    Size,
    Work,
)
from sw_model.locking import Kref
from tb.oracle import Oracle, Verdict, check_accounting

ACCESS = np.dtype(
    [(n, "<u8") for n in ("t_accept", "t_issue", "t_resp", "va", "bus")]
    + [("user", "<u4"), ("nbytes", "<u4"), ("write", "u1"), ("resp", "u1")]
)
RING = np.dtype([("cycle", "<u8"), ("addr", "<u8"), ("write", "u1"), ("data", "<u8", 4)])
RINGS = {
    "CMD": (0x1000000, 6),
    "FAULT": (0x1001000, 4),
    "EVENT": (0x1002000, 6),
    "WORK": (0x1003000, 4),
    "DONE": (0x1004000, 4),
}
LAYOUT = {"CMD": CMD, "FAULT": FAULT, "EVENT": EVENT, "WORK": WORK, "DONE": DONE}
P, VA, FRAME = 3, 0x7000_0000, 0x40
RW, RO = 3, 1


class World:
    """Writes the logs of a device that does as it is told, at times of the test's choice."""

    def __init__(self, mm: bool = False, **options: Any) -> None:
        self.t = 0
        self.oracle = Oracle(RINGS, now=lambda: self.t, **options)
        self.ring_log: list[tuple] = []
        self.access_log: list[tuple] = []
        self.counts = dict.fromkeys(RINGS, 0)
        self.seq = 0
        self.mm = mm
        self.pending = 0
        if mm:
            self.oracle.bind(P, "mm")

    def record(self, t: int, ring: str, skew: int = 0, phase: int | None = None, **fields: int) -> int:
        base, log2 = RINGS[ring]
        n = self.counts[ring]
        self.counts[ring] += 1
        if ring in ("FAULT", "EVENT", "DONE"):
            fields["phase"] = (1 - (n >> log2 & 1)) if phase is None else phase
        data = LAYOUT[ring].pack(**fields)[0]
        addr = base + 32 * ((n + skew) % (1 << log2))
        self.ring_log.append((t, addr, ring in ("FAULT", "EVENT", "DONE"), data))
        return n

    def cmd(self, t: int, op: int, complete: bool = False, pasid: int = P, **fields: int) -> dict[str, int]:
        tag = self.counts["CMD"] & 0xFFFF
        flags = Flag.COMPLETE if complete else 0
        n = self.record(t, "CMD", op=op, flags=flags, tag=tag, pasid=pasid, **fields)
        return {"tag": tag, "index": n & 63, "op": op}

    def attach(self, t: int, pasid: int = P) -> None:
        self.cmd(t, Op.ATTACH, pasid=pasid)

    def fill(
        self,
        t: int,
        va: int = VA,
        pfn: int = FRAME,
        perm: int = RW,
        n: int = 1,
        size: int = Size.P4K,
        pasid: int = P,
    ) -> dict[str, int]:
        return self.cmd(t, Op.FILL, pasid=pasid, va=va, pa=pfn << 12, npages=n, size=size, perm=perm)

    def done(self, t: int, c: dict[str, int]) -> None:
        self.record(t, "EVENT", type=Event.COMPLETE, **c)

    def invalidate(self, taken: int, done: int, va: int = VA, n: int = 1, pasid: int = P) -> None:
        c = self.cmd(taken, Op.INVALIDATE, True, pasid, va=va, npages=n)
        self.done(done, c)

    def fault(self, t: int, va: int = VA, access: int = 1, pasid: int = P, ident: int = 0) -> dict[str, int]:
        f = {"fault": ident, "seq": self.seq}
        self.seq += 1
        self.record(t, "FAULT", pasid=pasid, va=va, access=access, **f)
        return f

    def answer(self, t: int, f: dict[str, int], code: int = Code.SUCCESS) -> None:
        self.cmd(t, Op.RESPOND, code=code, **f)

    def access(
        self,
        issue: int,
        resp: int,
        va: int = VA,
        pfn: int = FRAME,
        write: bool = False,
        pasid: int = P,
        code: int = 0,
        accept: int | None = None,
    ) -> None:
        accept = issue - 4 if accept is None else accept
        bus = (pfn << 12) + (va & 4095)
        self.access_log.append((accept, issue, resp, va, bus, pasid | 1 << 20, 16, write, code))

    def error(self, accept: int, resp: int, code: int, va: int = VA, pasid: int = P) -> None:
        self.access_log.append((accept, 0, resp, va, 0, pasid, 16, False, code))

    def at(self, t: int, what: Callable[..., None], *args: Any) -> None:
        self.t = t
        what(*args)

    def map(
        self, t: int, va: int = VA, pfn: int = FRAME, write: bool = True, n: int = 1, space: str = "mm"
    ) -> None:
        self.at(t, self.oracle.frame_alloc, pfn, n)
        self.at(t, self.oracle.pte_set, space, va >> 12, pfn, write, n)

    def verdict(self) -> Verdict:
        self.t = 100_000
        ring = np.array(sorted(self.ring_log, key=lambda r: r[0]), dtype=RING)
        access = np.array(sorted(self.access_log, key=lambda a: a[2]), dtype=ACCESS)
        self.oracle.feed(access, ring)
        return self.oracle.finish(self.pending)


# ---- legal


def plain(w: World) -> None:
    w.attach(1)
    w.fill(10)
    w.access(20, 30)
    w.access(25, 39, write=True)
    w.invalidate(35, 40)


def over_invalidation(w: World) -> None:
    plain(w)
    w.invalidate(50, 60, VA - (1 << 20), 1000)
    w.invalidate(70, 80, 0x1000, 1, pasid=9)
    c = w.cmd(90, Op.INVALIDATE_ALL, True)
    w.done(91, c)


def regrant(w: World) -> None:
    plain(w)
    w.fill(50, pfn=FRAME + 1, perm=RO)
    w.access(60, 70, pfn=FRAME + 1)
    w.invalidate(80, 90)
    w.fill(100)
    w.access(110, 120, write=True)


def access_up_to_completion(w: World) -> None:
    """An access that holds a translation delays the completion, and may end in its very cycle."""
    w.attach(1)
    w.fill(10)
    c = w.cmd(20, Op.INVALIDATE, True, va=VA, npages=1)
    w.access(21, 500)
    w.done(500, c)


def neighbours_survive(w: World) -> None:
    w.attach(1)
    w.fill(10, n=4)
    w.invalidate(20, 30, VA + 0x1000)
    w.access(40, 50)
    w.access(40, 50, va=VA + 0x2000, pfn=FRAME + 2)


def fill_behind_invalidation(w: World) -> None:
    """A fill after an invalidation in ring order outlives it, though its completion comes later."""
    w.attach(1)
    w.fill(10)
    c = w.cmd(20, Op.INVALIDATE, True, va=VA, npages=1)
    w.fill(21, pfn=FRAME + 7)
    w.done(90, c)
    w.access(100, 110, pfn=FRAME + 7)


def page_sizes(w: World) -> None:
    w.attach(1)
    va = 0x4000_0000
    w.fill(10, va, 0x80000, size=Size.P1G)
    w.access(20, 30, va + 0x1234_5678, 0x80000 + 0x12345)
    c = w.cmd(40, Op.INVALIDATE, True, va=va + 0x5000, npages=1)
    w.done(50, c)
    w.fill(60, va, 0x200, size=Size.P2M, n=2)
    w.access(70, 80, va + 0x20_3008, 0x403)
    w.fill(90, va, 0x7, size=Size.P4K)
    w.access(95, 99, va, 0x7)


def upgrade(w: World) -> None:
    """A fill over a fill without an invalidation: accesses in flight may still use the first."""
    w.attach(1)
    w.fill(10, perm=RO)
    w.fill(20, perm=RW)
    w.access(15, 30)
    w.access(25, 30, write=True)
    w.fill(40, perm=RO)
    w.access(39, 45, write=True)


def fences(w: World) -> None:
    w.attach(1)
    w.fill(10)
    w.cmd(20, Op.INVALIDATE, va=VA, npages=1)
    w.access(25, 39)
    c = w.cmd(30, Op.FENCE, True)
    w.done(40, c)


def faults(w: World) -> None:
    w.attach(1)
    f = w.fault(10)
    w.fill(20)
    w.answer(21, f)
    w.access(25, 30, accept=5)
    f = w.fault(40, access=2)
    g = w.fault(41, VA + 0x1000, ident=1)
    w.answer(50, g, Code.INVALID)
    w.error(35, 60, 2, VA + 0x1000)
    w.answer(51, f, Code.FAILURE)
    w.error(35, 60, 3)


def detach(w: World) -> None:
    """Faults of a detached PASID need no answer, and stale answers are harmless."""
    w.attach(1)
    f = w.fault(10)
    w.fault(11, VA + 0x1000, ident=1)
    w.fill(12, VA + 0x2000)
    c = w.cmd(20, Op.DETACH, True)
    w.access(15, 29, VA + 0x2000)
    w.error(9, 28, 3)
    w.fault(22, VA + 0x5000, ident=2)
    w.answer(25, f)
    w.done(30, c)
    w.error(40, 45, 3)
    w.attach(50)
    w.fill(55)
    w.access(60, 70)


def eviction(w: World) -> None:
    """The device may drop a translation at any time and fault again."""
    w.attach(1)
    w.fill(5)
    for i in range(30):
        f = w.fault(10 + 100 * i)
        w.fill(20 + 100 * i)
        w.answer(21 + 100 * i, f)
        w.access(30 + 100 * i, 40 + 100 * i)


def work(w: World) -> None:
    for i in range(40):
        w.record(10 + i, "WORK", op=Work.READ, flags=Flag.COMPLETE, len=8)
        w.record(100 + i, "DONE", index=i ^ 1, op=Work.READ)


def mm_life(w: World) -> None:
    w.map(5)
    plain(w)
    w.at(45, w.oracle.pte_clear, "mm", VA >> 12)
    w.at(46, w.oracle.frame_free, FRAME)
    w.map(50, VA + 0x1000)
    w.fill(55, VA + 0x1000)
    w.access(60, 70, VA + 0x1000)


def mm_write_protect(w: World) -> None:
    """Copy-on-write: invalidate, write-protect, fill read-only; then reuse lifts the protection."""
    w.map(5)
    plain(w)
    w.at(45, w.oracle.pte_set, "mm", VA >> 12, FRAME, False)
    w.fill(50, perm=RO)
    w.at(60, w.oracle.pte_set, "mm", VA >> 12, FRAME, True)
    w.access(65, 70)
    w.fill(75)
    w.access(80, 85, write=True)


def mm_huge(w: World) -> None:
    va = 0x4000_0000
    w.map(5, va, 0x200, n=512)
    w.attach(6)
    w.fill(10, va, 0x200, size=Size.P2M)
    w.access(20, 30, va + 0x12_3000, 0x200 + 0x123, write=True)
    w.invalidate(40, 50, va + 0x1000)
    w.at(60, w.oracle.pte_clear, "mm", va >> 12, 512)
    w.at(61, w.oracle.frame_free, 0x200, 512)


def mm_shared(w: World) -> None:
    w.map(5)
    w.oracle.bind(4, "child")
    w.at(6, w.oracle.pte_set, "child", VA >> 12, FRAME, False)
    plain(w)
    w.attach(50, 4)
    w.fill(51, perm=RO, pasid=4)
    w.access(60, 70, pasid=4)


LEGAL = (
    plain,
    over_invalidation,
    regrant,
    access_up_to_completion,
    neighbours_survive,
    page_sizes,
    upgrade,
    fences,
    fill_behind_invalidation,
    faults,
    detach,
    eviction,
    work,
)
LEGAL_MM = (mm_life, mm_write_protect, mm_huge, mm_shared)


@pytest.mark.parametrize("scene", LEGAL + LEGAL_MM, ids=lambda s: s.__name__)
def test_legal_log_is_silent(scene: Callable[[World], None]) -> None:
    w = World(mm=scene in LEGAL_MM)
    scene(w)
    v = w.verdict()
    assert v.ok, str(v)


@pytest.mark.parametrize("chunk", [1, 3])
def test_feeding_in_pieces_changes_nothing(chunk: int) -> None:
    w = World(batch=2)
    eviction(w)
    ring = np.array(sorted(w.ring_log, key=lambda r: r[0]), dtype=RING)
    access = np.array(w.access_log, dtype=ACCESS)
    edges = list(range(0, int(ring["cycle"].max()) + 100 * chunk, 100 * chunk))
    for a, b in zip(edges, [*edges[1:], 10**9], strict=True):
        w.oracle.feed(
            access[(access["t_resp"] >= a) & (access["t_resp"] < b)],
            ring[(ring["cycle"] >= a) & (ring["cycle"] < b)],
        )
    assert w.oracle.finish().ok
    assert w.oracle.verdict.seen["accesses"] == 30


# ---- illegal: (rule that must fire, text it must show, scene)


def completion_before_drain(w: World) -> None:
    w.attach(1)
    w.fill(10)
    w.access(20, 101)
    w.invalidate(25, 100)


def after_completion(w: World) -> None:
    plain(w)
    w.access(41, 50)


def after_regrant(w: World) -> None:
    """The frame is granted again later: the access in between is still stale."""
    plain(w)
    w.fill(60)
    w.access(45, 70)


def old_frame_after_regrant(w: World) -> None:
    plain(w)
    w.fill(50, pfn=FRAME + 1)
    w.access(60, 70, pfn=FRAME)


def stale_after_fence(w: World) -> None:
    fences(w)
    w.access(41, 45)


def stale_after_detach(w: World) -> None:
    detach(w)
    w.access(31, 35, VA + 0x2000)


def stale_huge(w: World) -> None:
    page_sizes(w)
    w.access(51, 55, 0x4000_0000 + 0x1234_5678, 0x80000 + 0x12345)


def stale_all(w: World) -> None:
    w.attach(1)
    w.fill(10)
    w.done(30, w.cmd(20, Op.INVALIDATE_ALL, True, pasid=0))
    w.access(40, 50)


def stale_pasid(w: World) -> None:
    w.attach(1)
    w.fill(10)
    w.done(30, w.cmd(20, Op.INVALIDATE_PASID, True))
    w.access(40, 50)


def write_through_read_only(w: World) -> None:
    w.attach(1)
    w.fill(10, perm=RO)
    w.access(20, 30, write=True)


def read_through_write_only(w: World) -> None:
    w.attach(1)
    w.fill(10, perm=2)
    w.access(20, 30)


def other_pasid(w: World) -> None:
    w.attach(1)
    w.attach(2, 4)
    w.fill(10)
    w.access(20, 30, pasid=4)


def before_fill(w: World) -> None:
    w.attach(1)
    w.access(8, 30)
    w.fill(10)


def wrong_frame(w: World) -> None:
    w.attach(1)
    w.fill(10)
    w.access(20, 30, pfn=FRAME + 1)


def never_filled(w: World) -> None:
    w.attach(1)
    w.access(20, 30)


def wrong_offset(w: World) -> None:
    w.attach(1)
    w.fill(10)
    w.access_log.append((16, 20, 30, VA + 0x40, FRAME << 12, P, 16, False, 0))


def refused_fill(w: World) -> None:
    w.attach(1)
    c = w.fill(10, perm=0)
    w.record(12, "EVENT", type=Event.COMMAND_ERROR, status=CmdError.PERM, **c)
    w.access(20, 30)


def lost_response(w: World) -> None:
    plain(w)
    w.pending = 1


def unanswered(w: World) -> None:
    w.attach(1)
    w.fault(10)


def answered_twice(w: World) -> None:
    faults(w)
    w.answer(90, {"fault": 0, "seq": 0})


def answer_to_nothing(w: World) -> None:
    w.attach(1)
    w.answer(90, {"fault": 5, "seq": 77})


def lost_record(w: World) -> None:
    w.attach(1)
    w.answer(20, w.fault(10))
    w.seq += 1
    w.answer(40, w.fault(30))


def identifier_reused(w: World) -> None:
    w.attach(1)
    f = w.fault(10)
    g = w.fault(11, VA + 0x1000)
    w.answer(20, f)
    w.answer(21, g)


def two_faults_for_a_page(w: World) -> None:
    w.attach(1)
    f, g = w.fault(10), w.fault(11, ident=1)
    w.answer(20, f)
    w.answer(21, g)


def fault_of_detached(w: World) -> None:
    detach(w)
    w.cmd(80, Op.DETACH, True)
    w.done(85, {"tag": w.counts["CMD"] - 1, "index": (w.counts["CMD"] - 1) & 63, "op": Op.DETACH})
    w.fault(90)


def attached_too_early(w: World) -> None:
    w.attach(1)
    c = w.cmd(10, Op.DETACH, True)
    w.attach(11)
    w.done(20, c)


def storm(w: World) -> None:
    w.attach(1)
    for i in range(100):
        f = w.fault(10 + 10 * i)
        w.fill(15 + 10 * i)
        w.answer(16 + 10 * i, f)


def slow(w: World) -> None:
    w.attach(1)
    w.invalidate(10, 30_011)


def never_completes(w: World) -> None:
    w.attach(1)
    w.cmd(10, Op.INVALIDATE, True, va=VA, npages=1)


def completions_swapped(w: World) -> None:
    w.attach(1)
    a = w.cmd(10, Op.INVALIDATE, True, va=VA, npages=1)
    b = w.cmd(11, Op.INVALIDATE, True, va=VA, npages=1)
    w.done(20, b)
    w.done(21, a)


def completion_of_nothing(w: World) -> None:
    w.attach(1)
    w.done(20, {"tag": 9, "index": 9, "op": Op.FENCE})


def completed_twice(w: World) -> None:
    w.attach(1)
    c = w.cmd(10, Op.FENCE, True)
    w.done(20, c)
    w.done(21, c)


def refused(w: World) -> None:
    c = w.fill(10)
    w.record(12, "EVENT", type=Event.COMMAND_ERROR, status=CmdError.NOT_ATTACHED, **c)


def error_without_reason(w: World) -> None:
    w.attach(1)
    w.answer(20, w.fault(10), Code.FAILURE)
    w.error(15, 30, 2)


def decerr_while_attached(w: World) -> None:
    w.attach(1)
    w.error(10_000, 10_020, 3)


def success_without_bus(w: World) -> None:
    w.attach(1)
    w.error(10, 20, 0)


def crossing(w: World) -> None:
    plain(w)
    w.access_log.append((16, 20, 30, VA + 0xFC0, (FRAME << 12) + 0xFC0, P, 1024, False, 0))


def slot_skipped(w: World) -> None:
    w.attach(1)
    w.record(10, "EVENT", skew=1, type=Event.COMPLETE, **w.cmd(5, Op.FENCE, True))


def stale_phase(w: World) -> None:
    w.attach(1)
    w.record(10, "EVENT", phase=0, type=Event.COMPLETE, **w.cmd(5, Op.FENCE, True))


def stray_ring_access(w: World) -> None:
    w.ring_log.append((5, 0x666000, True, np.zeros(4, "<u8")))


def command_ring_written(w: World) -> None:
    w.ring_log.append((5, RINGS["CMD"][0], True, np.zeros(4, "<u8")))


def work_lost(w: World) -> None:
    work(w)
    w.record(200, "WORK", op=Work.READ, flags=Flag.COMPLETE, len=8)


def work_twice(w: World) -> None:
    work(w)
    w.record(200, "DONE", index=7)


def work_unknown(w: World) -> None:
    w.record(200, "DONE", index=7)


def freed_under_grant(w: World) -> None:
    w.map(2)
    w.attach(3)
    w.fill(10)
    w.at(30, w.oracle.pte_clear, "mm", VA >> 12)
    w.at(31, w.oracle.frame_free, FRAME)
    w.invalidate(35, 40)


def freed_under_access(w: World) -> None:
    freed_under_grant(w)
    w.access(20, 33)


def filled_after_free(w: World) -> None:
    """A missing read_retry: the snapshot is older than the invalidation, the fill is posted after it."""
    w.map(2)
    w.attach(3)
    w.invalidate(10, 15)
    w.at(20, w.oracle.pte_clear, "mm", VA >> 12)
    w.at(20, w.oracle.frame_free, FRAME)
    w.fill(25)


def filled_after_unmap(w: World) -> None:
    w.map(2)
    w.attach(3)
    w.at(20, w.oracle.pte_clear, "mm", VA >> 12)
    w.fill(25)


def filled_too_strong(w: World) -> None:
    w.map(2, write=False)
    w.attach(3)
    w.fill(25)


def foreign_frame(w: World) -> None:
    w.map(2, space="other")
    w.attach(3)
    w.fill(25)


def protected_under_grant(w: World) -> None:
    w.map(2)
    w.attach(3)
    w.fill(10)
    w.at(20, w.oracle.pte_set, "mm", VA >> 12, FRAME, False)


def moved_under_grant(w: World) -> None:
    w.map(2)
    w.attach(3)
    w.fill(10)
    w.at(20, w.oracle.frame_alloc, FRAME + 1)
    w.at(20, w.oracle.pte_set, "mm", VA >> 12, FRAME + 1, True)


def huge_tail_unmapped(w: World) -> None:
    """A 2-MiB grant over a mapping that lost one 4-KiB page."""
    mm_huge(w)
    w.map(70, 0x4000_0000, 0x200, n=512)
    w.fill(75, 0x4000_0000, 0x200, size=Size.P2M)
    w.at(80, w.oracle.pte_clear, "mm", (0x4000_0000 >> 12) + 511)


def freed_twice(w: World) -> None:
    w.map(2)
    w.at(3, w.oracle.frame_free, FRAME)
    w.at(4, w.oracle.frame_free, FRAME)


ILLEGAL = [
    ("stale-access", "revoked at 100 by INVALIDATE (command 2, taken at 25)", completion_before_drain),
    ("stale-access", "issued 41, response 50", after_completion),
    ("stale-access", "revoked at 40", after_regrant),
    ("stale-access", "frame 0x40", old_frame_after_regrant),
    ("stale-access", "by INVALIDATE", stale_after_fence),
    ("stale-access", "by DETACH", stale_after_detach),
    ("stale-access", "1G read/write", stale_huge),
    ("stale-access", "by INVALIDATE_ALL", stale_all),
    ("stale-access", "by INVALIDATE_PASID", stale_pasid),
    ("permission", "write of pasid 3 va 0x70000000", write_through_read_only),
    ("permission", "4K write pasid 3", read_through_write_only),
    ("wrong-pasid", "read of pasid 4", other_pasid),
    ("early-access", "filled at 10", before_fill),
    ("wrong-frame", "frame 0x40", wrong_frame),
    ("wrong-frame", "bus 0x40000", wrong_offset),
    ("no-grant", "never filled", never_filled),
    ("no-grant", "refused", refused_fill),
    ("stuck-access", "1 accesses", lost_response),
    ("unanswered-fault", "fault 0 seq 0", unanswered),
    ("double-answer", "answered again", answered_twice),
    ("unknown-answer", "seq 77", answer_to_nothing),
    ("lost-fault", "up to seq 1 are missing", lost_record),
    ("fault-identifier", "reuses", identifier_reused),
    ("duplicate-fault", "outstanding", two_faults_for_a_page),
    ("fault-after-detach", "not attached", fault_of_detached),
    ("early-attach", "attached again", attached_too_early),
    ("retry-storm", "faulted 65 times", storm),
    ("slow-invalidation", "30001 cycles", slow),
    ("stuck-command", "never completed", never_completes),
    ("completion-order", "passes", completions_swapped),
    ("unknown-completion", "matches no command", completion_of_nothing),
    ("unknown-completion", "matches no command", completed_twice),
    ("command-error", "NOT_ATTACHED", refused),
    ("false-error", "SLVERR", error_without_reason),
    ("false-error", "DECERR", decerr_while_attached),
    ("false-success", "never reached", success_without_bus),
    ("page-crossing", "crosses", crossing),
    ("ring-order", "not in slot 0", slot_skipped),
    ("ring-phase", "wrong phase", stale_phase),
    ("ring-address", "0x666000", stray_ring_access),
    ("ring-direction", "wrote CMD", command_ring_written),
    ("lost-work", "descriptor 40", work_lost),
    ("double-work", "twice", work_twice),
    ("unknown-work", "never taken", work_unknown),
    ("freed-under-grant", "free since 31", freed_under_grant),
    ("freed-frame", "free since 31", freed_under_access),
    ("freed-under-grant", "free since 20", filled_after_free),
    ("fill-without-pte", "does not map", filled_after_unmap),
    ("fill-without-pte", "does not map", filled_too_strong),
    ("foreign-frame", "only another process", foreign_frame),
    ("pte-lost", "changed at 20", protected_under_grant),
    ("pte-lost", "changed at 20", moved_under_grant),
    ("pte-lost", "changed at 80", huge_tail_unmapped),
    ("double-free", "frame 0x40", freed_twice),
]


@pytest.mark.parametrize("rule,text,scene", ILLEGAL, ids=lambda s: getattr(s, "__name__", ""))
def test_rule_fires(rule: str, text: str, scene: Callable[[World], None]) -> None:
    w = World(mm=True)
    scene(w)
    v = w.verdict()
    hits = [str(x) for x in v.violations if x.rule == rule]
    assert hits, str(v)
    assert any(text in h for h in hits), str(v)
    assert not v.ok and rule in str(v)


def test_every_rule_is_tested() -> None:
    """The rules that the source reports are those that a test above provokes, and those documented."""
    root = Path(__file__).parent.parent
    source = (root / "tb/oracle.py").read_text()
    rules = set(re.findall(r'_report\(.*?, "([a-z]+-[a-z-]+|permission|accounting)"', source))
    rules |= set(re.findall(r'^ +\("([a-z-]+)", here', source, re.M)) | {"foreign-frame", "fill-without-pte"}
    rest = {"late-answer", "response-order", "fault-record", "accounting"}
    assert rules - {r for r, _, _ in ILLEGAL} == rest
    doc = (root / "docs/oracle.md").read_text()
    assert [r for r in sorted(rules) if f"`{r}`" not in doc] == []


def test_remaining_rules() -> None:
    w = World(answer_limit=100)
    w.attach(1)
    w.answer(500, w.fault(10, access=0))
    w.fill(501)
    w.access(510, 505)
    w.oracle.account(["mm 1: mm_users is 1, not 0"])
    v = w.verdict()
    assert set(v.rules) == {"late-answer", "response-order", "fault-record", "accounting"}


def test_allowed_command_error() -> None:
    w = World(allowed_errors=[CmdError.NOT_ATTACHED])
    refused(w)
    assert w.verdict().ok


def test_accounting() -> None:
    class Mm:
        mm_id, name, mm_users, mm_count, hmm = 1, "a", 1, 2, None

    class Hmm:
        kref = Kref(1, "hmm")

    class Phys:
        def check_balance(self) -> list[str]:
            return ["frame 5: refcount 1"]

    problems = check_accounting(Phys(), [Mm()], [Hmm()])
    assert len(problems) == 4
    assert "mm_users is 1" in problems[0]


def test_a_million_accesses_cost_seconds() -> None:
    """Random traffic over regranted pages; one stale access among them is found."""
    rng = np.random.default_rng(1)
    rounds, pages, per = 200, 256, 5000
    w = World(detail=3)
    w.attach(1)
    logs = []
    for r in range(rounds):
        t = 10 + r * 10_000
        w.fill(t, n=pages, pfn=0x1000 + 0x1000 * (r & 1))
        w.invalidate(t + 9000, t + 9500, n=pages)
        a = np.zeros(per, dtype=ACCESS)
        page = rng.integers(0, pages, per).astype(np.uint64)
        a["t_accept"] = t + rng.integers(10, 8000, per)
        a["t_issue"] = a["t_accept"] + 4
        a["t_resp"] = a["t_issue"] + rng.integers(1, 1400, per).astype(np.uint64)
        a["va"] = VA + page * 4096
        a["bus"] = ((0x1000 + 0x1000 * (r & 1)) << 12) + page * 4096
        a["user"], a["nbytes"], a["write"] = P, 16, rng.integers(0, 2, per)
        logs.append(np.sort(a, order="t_resp"))
    logs[150]["t_resp"][77] = 10 + 150 * 10_000 + 9501
    ring = np.array(w.ring_log, dtype=RING)
    start = time.process_time()
    for r, a in enumerate(logs):
        t = 10 + r * 10_000
        w.oracle.feed(a, ring[(ring["cycle"] >= (t if r else 0)) & (ring["cycle"] < t + 10_000)])
    v = w.oracle.finish()
    assert time.process_time() - start < 20
    assert v.rules == {"stale-access": 1}
    assert v.seen["accesses"] == rounds * per
