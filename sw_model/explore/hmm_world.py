"""hmm_range_fault() of two pages in every state of the CPU page table, against what it must return.

`StatesWorld.rounds()` is a generated sequence: each round picks the entries of two pages, the permissions of
their VMA and what the caller asks for, runs the real walk with the loop of hmm.rst, and compares. What is
expected comes from a table that knows nothing of the walk.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sw_model import hmm
from sw_model import mmu_notifier as mn
from sw_model.explore.notes import note
from sw_model.explore.world import now
from sw_model.hmm import (
    HMM_PFN_ERROR,
    HMM_PFN_ORDER_SHIFT,
    HMM_PFN_REQ_FAULT,
    HMM_PFN_REQ_WRITE,
    HMM_PFN_VALID,
    HMM_PFN_WRITE,
    HmmRange,
)
from sw_model.locking import Mutex, RwSem, SpinLock, kfree
from sw_model.mm_refs import MmRefs
from sw_model.mmu_notifier import MmuNotifierRange, MmuNotifyEvent
from sw_model.pagetable import PteKind
from sw_model.sched import Scheduler, point
from sw_model.vma import VM_IO, VM_READ, VM_WRITE

PAGE, BASE, PAGES = 4096, 0x20_0000, 2
END = BASE + PAGES * PAGE
OWNER, OTHER = "device", "other device"
_PFN, _NEW = 512, 1024
_WRITE = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE
REQUESTS = (0, HMM_PFN_REQ_FAULT, _WRITE, HMM_PFN_REQ_WRITE)


class Entry(NamedTuple):
    """What the walk reads of a page."""

    kind: PteKind
    writable: bool = False
    order: int = 0
    owner: object = None
    special: bool = False
    pfn: int = -1
    base: int = BASE


K = PteKind
STATES: dict[str, Entry] = {
    "none": Entry(K.NONE),
    "present": Entry(K.PRESENT, True),
    "present read-only": Entry(K.PRESENT),
    "zero page": Entry(K.ZERO),
    "special": Entry(K.PRESENT, True, special=True),
    "numa hint": Entry(K.PROTNONE, True),
    "swap": Entry(K.SWAP),
    "migration": Entry(K.MIGRATION),
    "hwpoison": Entry(K.HWPOISON),
    "exclusive": Entry(K.DEVICE_EXCLUSIVE),
    "own private": Entry(K.DEVICE_PRIVATE, True, owner=OWNER),
    "own private read-only": Entry(K.DEVICE_PRIVATE, owner=OWNER),
    "foreign private": Entry(K.DEVICE_PRIVATE, True, owner=OTHER),
    # leaves over both pages
    "huge": Entry(K.PRESENT, True, 9),
    "huge read-only": Entry(K.PRESENT, False, 9),
    "huge own private": Entry(K.DEVICE_PRIVATE, True, 9, OWNER),
    "huge foreign private": Entry(K.DEVICE_PRIVATE, True, 9, OTHER),
    "bad pmd": Entry(K.BAD, False, 9),
    "huge migration": Entry(K.MIGRATION, False, 9),
    "uffd-wp marker": Entry(K.MARKER),
}
NAMES = tuple(STATES)
#: permissions of the VMA; None: no VMA
AREAS = {"rw": VM_READ | VM_WRITE, "r": VM_READ, "none": 0, "io": VM_READ | VM_WRITE | VM_IO, "hole": None}


class HmmVma(NamedTuple):
    """The VMA of the pages."""

    vm_start: int
    vm_end: int
    vm_flags: int


class HmmMm(MmRefs):
    """An mm_struct of two pages in given states. `faulted`: addresses for which a fault handler ran."""

    def __init__(self) -> None:
        super().__init__()
        self.mmap_lock = RwSem("mmap_lock")
        self.page_table_lock = SpinLock("page_table_lock")
        self.notifier_subscriptions: Any = None
        self.vm_flags: int | None = VM_READ | VM_WRITE
        self.ptes: dict[int, Entry] = {}
        self.faulted: list[int] = []
        #: the next fault drops mmap_lock (userfaultfd)
        self.drop = False

    def set(self, names: tuple[str, ...]) -> None:
        """Both pages get a state; a leaf covers both."""
        for i in range(PAGES):
            name = names[0] if STATES[names[0]].order else names[i]
            e = STATES[name]
            if e.order and name != names[0]:
                e = e._replace(order=0)
            has = e.kind in (K.PRESENT, K.ZERO, K.PROTNONE, K.DEVICE_PRIVATE, K.DEVICE_EXCLUSIVE)
            self.ptes[BASE + i * PAGE] = e._replace(pfn=_PFN + i if has else -1)

    def find_vma(self, addr: int) -> HmmVma | None:
        """find_vma()."""
        return HmmVma(BASE, END, self.vm_flags) if addr < END and self.vm_flags is not None else None

    def pte(self, addr: int) -> Entry:
        """The entry."""
        return self.ptes[addr]

    async def handle_mm_fault(self, vma: Any, addr: int, write: bool, allow_retry: bool = False) -> int:
        """handle_mm_fault(): the page is present behind it, writable if the VMA is."""
        self.faulted.append(addr)
        note(f"fault of page {(addr - BASE) // PAGE}{' to write' if write else ''}")
        if allow_retry and self.drop:
            self.drop = False
            self.mmap_lock.up_read()
            await point("userfaultfd", self)
            return hmm.VM_FAULT_RETRY
        new = Entry(K.PRESENT, bool(vma.vm_flags & VM_WRITE), pfn=_NEW + (addr - BASE) // PAGE)
        old = self.ptes[addr]
        if old.kind in (K.NONE, K.SWAP):
            async with self.page_table_lock:
                self.ptes[addr] = new
        else:
            await self.change(addr, new)
        return 0

    async def change(self, addr: int, new: Entry) -> None:
        """Invalidate a page and change its entry meanwhile."""
        r = MmuNotifierRange(self, addr, addr + PAGE, MmuNotifyEvent.CLEAR)
        await mn.mmu_notifier_invalidate_range_start(r)
        async with self.page_table_lock:
            self.ptes[addr] = new
        await mn.mmu_notifier_invalidate_range_end(r)

    async def migration_entry_wait(self, addr: int) -> None:
        """migration_entry_wait(): the migration ends here."""
        await point("migration", self)
        writable, huge = self.vm_flags == VM_READ | VM_WRITE, self.ptes[addr].order
        for i in range(PAGES):
            at = BASE + i * PAGE
            if at == addr or huge:
                self.ptes[at] = Entry(K.PRESENT, writable, pfn=_NEW + i)

    async def exit_mmap(self) -> None:
        """exit_mmap()."""
        await mn.mmu_notifier_release(self)

    def free_mm(self) -> None:
        """__mmdrop()."""
        mn.mmu_notifier_subscriptions_destroy(self)
        kfree(self)


class Expected(NamedTuple):
    """An error, or the hmm pfn of each page."""

    ret: int
    pfns: tuple[int, ...]


def _page(e: Entry, vm_flags: int | None, request: int, i: int) -> int:
    """The hmm pfn of one page, or a negative errno."""
    asked = bool(request & HMM_PFN_REQ_FAULT)
    write = asked and bool(request & HMM_PFN_REQ_WRITE)
    unusable = vm_flags is None or not vm_flags & VM_READ or bool(vm_flags & VM_IO)
    if unusable or e.kind in (K.HWPOISON, K.BAD) or (e.special and not write):
        return -errno.EFAULT if asked else HMM_PFN_ERROR
    assert vm_flags is not None
    usable = e.kind in (K.PRESENT, K.ZERO) or (e.kind is K.DEVICE_PRIVATE and e.owner == OWNER)
    writable = usable and e.writable and e.kind is not K.ZERO
    if not asked or (usable and (writable or not write)):
        if e.special:
            return -errno.EFAULT if asked else HMM_PFN_ERROR
        flags = HMM_PFN_VALID | (HMM_PFN_WRITE if writable else 0) | e.order << HMM_PFN_ORDER_SHIFT
        return flags | e.pfn if usable else 0
    if write and not vm_flags & VM_WRITE:
        return -errno.EPERM
    return HMM_PFN_VALID | (HMM_PFN_WRITE if vm_flags & VM_WRITE else 0) | _NEW + i


def expected(entries: list[Entry], vm_flags: int | None, requests: tuple[int, ...]) -> Expected:
    """What the table of hmm.h and the kernel-doc says; the first page that fails decides."""
    pfns = []
    if entries[0].order:
        # A leaf is faulted as a whole: whatever one of its pages needs.
        faults = [p for i, r in enumerate(requests) if (p := _page(entries[i], vm_flags, r, i)) < 0]
        if faults:
            return Expected(faults[-1] if -errno.EPERM in faults else faults[0], ())
        if any(_page(entries[i], vm_flags, r, i) & _NEW for i, r in enumerate(requests)):
            requests = (max(requests, key=lambda r: (r & HMM_PFN_REQ_FAULT, r)),) * PAGES
    for i, (e, r) in enumerate(zip(entries, requests, strict=True)):
        p = _page(e, vm_flags, r, i)
        if p < 0:
            return Expected(p, ())
        pfns.append(p)
    return Expected(0, tuple(pfns))


class _Ops(mn.MmuIntervalNotifierOps):
    lock: Any = None

    async def invalidate(self, sub: Any, range_: MmuNotifierRange, cur_seq: int) -> bool:
        async with self.lock:
            mn.mmu_interval_set_seq(sub, cur_seq)
        return True


class StatesWorld:
    """A process of two pages and a notifier over them."""

    def __init__(self, sched: Scheduler) -> None:
        self.sched = sched
        self.mm = HmmMm()
        self.sub = mn.MmuIntervalNotifier()
        ops = _Ops()
        ops.lock = self.lock = Mutex("driver_lock")
        now(mn.mmu_interval_notifier_insert(self.sub, self.mm, BASE, PAGES * PAGE, ops))

    def pick(self, of: Any) -> Any:
        """A choice of the strategy."""
        of = tuple(of)
        return of[self.sched.choose(len(of))]  # type: ignore[attr-defined]

    async def rounds(self, n: int) -> None:
        """Generated rounds."""
        for _ in range(n):
            area = self.pick(AREAS)
            names = self.pick(NAMES), self.pick(NAMES)
            requests = self.pick(REQUESTS), self.pick(REQUESTS)
            await self.round(names, AREAS[area], requests)

    async def round(self, names: tuple[str, ...], vm_flags: int | None, requests: tuple[int, ...]) -> None:
        """One call and its comparison. Raises AssertionError."""
        mm = self.mm
        mm.vm_flags = vm_flags
        mm.set(names)
        entries = [mm.ptes[BASE + i * PAGE] for i in range(PAGES)]
        want = expected(entries, vm_flags, requests)
        what = f"{names}, vm_flags {vm_flags}, requests {[r >> 62 for r in requests]}"
        note(what)
        rng = HmmRange(self.sub, BASE, END, None, 0, _WRITE, OWNER)
        ret = -errno.EBUSY
        while ret == -errno.EBUSY:
            rng.notifier_seq = await mn.mmu_interval_read_begin(self.sub)
            rng.pfns[:] = requests
            async with mm.mmap_lock.read():
                ret = await hmm.hmm_range_fault(rng)
        got = Expected(ret, () if ret else tuple(rng.pfns.tolist()))
        assert got == want, f"{what}: {_text(got)}, not {_text(want)}"


def _text(e: Expected) -> str:
    return errno.errorcode[-e.ret] if e.ret else " ".join(f"{p:#x}" for p in e.pfns)


def states_build(rounds: int) -> Callable[[Scheduler], Callable[[], None]]:
    """A build of a configuration."""

    def build(sched: Scheduler) -> Callable[[], None]:
        w = StatesWorld(sched)
        sched.spawn(w.rounds(rounds), "driver")
        return lambda: None

    return build


def unlocked_build(drop: bool) -> Callable[[Scheduler], Callable[[], None]]:
    """A build: hmm_range_fault_unlocked_timeout() of one page of two, while the other one is reclaimed.

    `drop`: the fault of the requested page drops mmap_lock once.
    """

    def build(sched: Scheduler) -> Callable[[], None]:
        w = StatesWorld(sched)
        w.mm.set(("present", "none"))
        w.mm.drop = drop
        rng = HmmRange(w.sub, BASE, END, np.array([0, _WRITE], np.uint64), pfn_flags_mask=_WRITE)
        results: list[int] = []

        async def fault() -> None:
            results.append(await hmm.hmm_range_fault_unlocked_timeout(rng))

        def check() -> None:
            assert results == [0] and int(rng.pfns[1]) & HMM_PFN_VALID, "the requested page is not there"
            assert BASE not in w.mm.faulted, "a page that nobody asked for is faulted in"
            stale = mn.mmu_interval_read_retry(w.sub, rng.notifier_seq)
            kept = w.mm.ptes[BASE].kind is K.PRESENT
            assert stale or kept == bool(int(rng.pfns[0]) & HMM_PFN_VALID), "a valid section has an old page"

        sched.spawn(fault(), "fault")
        sched.spawn(w.mm.change(BASE, STATES["none"]), "reclaim")
        return check

    return build
