"""Helpers of the notifier, HMM and driver tests: a toy mm whose structure is poisoned when it is freed."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest

from sw_model.locking import KernelBug, RwSem, SpinLock, kfree, warn_on
from sw_model.mm_refs import MmRefs
from sw_model.mmu_notifier import (
    MmuNotifierRange,
    MmuNotifyEvent,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
    mmu_notifier_release,
    mmu_notifier_subscriptions_destroy,
)
from sw_model.pagetable import PteKind
from sw_model.sched import RandomStrategy, Scheduler, point

PAGE = 4096
VM_READ, VM_WRITE = 1, 2
NONE = None


class ToyPte(NamedTuple):
    kind: PteKind = PteKind.NONE
    pfn: int = -1
    writable: bool = False
    dirty: bool = False
    young: bool = False
    order: int = 0
    base: int = 0
    special: bool = False
    owner: object = None


class ToyVma(NamedTuple):
    vm_start: int
    vm_end: int
    vm_flags: int
    vm_mm: Any = None


class ToyMm(MmRefs):
    """An mm_struct with a dict for a page table. `faults` holds (addr, write) of handle_mm_fault calls."""

    def __init__(self) -> None:
        super().__init__()
        self.mmap_lock = RwSem("mmap")
        self.page_table_lock = SpinLock("ptl")
        self.notifier_subscriptions = None
        self.hmm = None
        self.vmas: list[ToyVma] = []
        self.ptes: dict[int, ToyPte] = {}
        self.faults: list[tuple[int, bool]] = []
        self.fault_result = 0
        self.on_fault: Callable[[int, bool], ToyPte] | None = None
        self.waits = 0

    def add_vma(self, start: int, end: int, flags: int) -> ToyVma:
        vma = ToyVma(start, end, flags, self)
        self.vmas = sorted([*self.vmas, vma])
        return vma

    def find_vma(self, addr: int) -> ToyVma | None:
        return next((v for v in self.vmas if v.vm_end > addr), None)

    def pte(self, addr: int) -> ToyPte:
        return self.ptes.get(addr, ToyPte(base=addr))

    async def handle_mm_fault(self, vma: ToyVma, addr: int, write: bool, allow_retry: bool = False) -> int:
        await point("fault", self)
        self.faults.append((addr, write))
        if self.fault_result:
            return self.fault_result
        if self.on_fault is not None:
            self.ptes[addr] = self.on_fault(addr, write)
        else:
            w = write or bool(vma.vm_flags & VM_WRITE)
            self.ptes[addr] = ToyPte(PteKind.PRESENT, addr >> 12, w, base=addr)
        return 0

    async def migration_entry_wait(self, addr: int) -> None:
        await point("migration", self)
        self.waits += 1
        self.ptes[addr] = ToyPte(PteKind.PRESENT, 77, True, base=addr)

    async def exit_mmap(self) -> None:
        await mmu_notifier_release(self)

    def free_mm(self) -> None:
        warn_on(self.hmm is not None, "mm freed with an hmm")
        mmu_notifier_subscriptions_destroy(self)
        kfree(self)


async def invalidate(
    mm: Any,
    start: int = 0,
    end: int = 1 << 40,
    between: Callable[[], None] | None = None,
    blockable: bool = True,
    event: MmuNotifyEvent = MmuNotifyEvent.CLEAR,
) -> int:
    """A whole invalidation; `between` changes the page table."""
    rng = MmuNotifierRange(mm, start, end, event, blockable)
    ret = await mmu_notifier_invalidate_range_start(rng)
    if ret == 0:
        await point("between", mm)
        if between is not None:
            between()
        await point("between", mm)
        await mmu_notifier_invalidate_range_end(rng)
    return ret


async def user_invalidate(mm: Any, **how: Any) -> None:
    """An invalidation by a user of the mm, which may be exiting. The caller pins the structure."""
    if await mm.mmget_not_zero():
        await invalidate(mm, **how)
        await mm.mmput()


def run(*threads: Awaitable[Any], seed: int | None = None, switch: float = 0.5) -> list[Any]:
    """Run threads to the end; their results."""
    sched = Scheduler(None if seed is None else RandomStrategy(seed, switch))
    ts = [sched.spawn(t, f"t{i}") for i, t in enumerate(threads)]
    try:
        sched.run()
    except Exception:
        for t in sched.threads:
            with contextlib.suppress(Exception):
                t.coro.close()
        raise
    return [t.result for t in ts]


def caught(scenario: Callable[[int], Any], seeds: range) -> int:
    """How many seeds of a scenario end in a kernel bug."""
    n = 0
    for seed in seeds:
        try:
            scenario(seed)
        except (KernelBug, AssertionError):
            n += 1
    return n


def must_catch(scenario: Callable[[int], Any], seeds: range) -> None:
    """A planted bug has to show."""
    if not caught(scenario, seeds):
        pytest.fail("no seed shows the planted bug")
