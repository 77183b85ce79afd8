"""hmm_range_fault(), row by row of the table of CPU page table states."""

from __future__ import annotations

import errno
from typing import Any

import numpy as np
import pytest
from test_hmm_support import PAGE, VM_READ, VM_WRITE, ToyMm, ToyPte, invalidate, run

from sw_model import hmm
from sw_model.fault import VM_FAULT_RETRY
from sw_model.hmm import (
    HMM_PFN_DMA_MAPPED,
    HMM_PFN_ERROR,
    HMM_PFN_REQ_FAULT,
    HMM_PFN_REQ_WRITE,
    HMM_PFN_VALID,
    HMM_PFN_WRITE,
    HmmRange,
    hmm_range_fault,
)
from sw_model.mmu_notifier import (
    MmuIntervalNotifier,
    MmuIntervalNotifierOps,
    mmu_interval_notifier_insert,
    mmu_interval_read_begin,
    mmu_interval_read_retry,
    mmu_interval_set_seq,
)
from sw_model.pagetable import PteKind
from sw_model.sched import sleep

BASE = 0x20_0000
RW = VM_READ | VM_WRITE
READ_REQ = HMM_PFN_REQ_FAULT
WRITE_REQ = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE
V, W = HMM_PFN_VALID, HMM_PFN_WRITE
VM_IO, VM_PFNMAP, VM_MIXEDMAP = 0x4000, 0x400, 0x10000000
OWNER = object()


class Ops(MmuIntervalNotifierOps):
    async def invalidate(self, sub: Any, range_: Any, cur_seq: int) -> bool:
        mmu_interval_set_seq(sub, cur_seq)
        return True


def fault(
    flags: int,
    ptes: list[ToyPte],
    request: int | list[int],
    mm: ToyMm | None = None,
    owner: object = None,
    vma: bool = True,
) -> tuple[int, list[int], ToyMm]:
    """One call over len(ptes) pages at BASE; (result, pfns, mm)."""
    mm = mm or ToyMm()
    n = len(ptes)
    if vma:
        mm.add_vma(BASE, BASE + n * PAGE, flags)
    for i, pte in enumerate(ptes):
        mm.ptes[BASE + i * PAGE] = pte

    async def main() -> tuple[int, list[int]]:
        sub = MmuIntervalNotifier()
        await mmu_interval_notifier_insert(sub, mm, 0, 1 << 47, Ops())
        seq = await mmu_interval_read_begin(sub)
        if isinstance(request, list):
            rng = HmmRange(sub, BASE, BASE + n * PAGE, np.array(request, np.uint64), 0, WRITE_REQ, owner, seq)
        else:
            rng = HmmRange(sub, BASE, BASE + n * PAGE, None, request, 0, owner, seq)
        async with mm.mmap_lock.read():
            ret = await hmm_range_fault(rng)
        return ret, [int(p) for p in rng.pfns]

    ret, pfns = run(main())[0]
    return ret, pfns, mm


def present(pfn: int, w: bool = True, **kw: Any) -> ToyPte:
    return ToyPte(PteKind.PRESENT, pfn, w, **kw)


PRIVATE_RO = ToyPte(PteKind.DEVICE_PRIVATE, 9, False, owner=OWNER)
PRIVATE_RW = ToyPte(PteKind.DEVICE_PRIVATE, 9, True, owner=OWNER)

# VMA flags, PTE, request, result, pfn
TABLE = [
    ("noread", 0, present(5), 0, 0, HMM_PFN_ERROR),
    ("noread", 0, present(5), READ_REQ, -errno.EFAULT, 0),
    ("io", RW | VM_IO, present(5), 0, 0, HMM_PFN_ERROR),
    ("io", RW | VM_IO, present(5), READ_REQ, -errno.EFAULT, 0),
    ("pfnmap", RW | VM_PFNMAP, present(5), WRITE_REQ, -errno.EFAULT, 0),
    ("none", RW, ToyPte(), 0, 0, 0),
    ("none", RW, ToyPte(), READ_REQ, 0, V | W | BASE >> 12),
    ("mixedmap", RW | VM_MIXEDMAP, present(5), READ_REQ, 0, V | W | 5),
    ("uffd-wp marker", RW, ToyPte(PteKind.MARKER), 0, 0, 0),
    ("uffd-wp marker", RW, ToyPte(PteKind.MARKER), READ_REQ, 0, V | W | BASE >> 12),
    ("none, read-only", VM_READ, ToyPte(), READ_REQ, 0, V | BASE >> 12),
    ("none", RW, ToyPte(), WRITE_REQ, 0, V | W | BASE >> 12),
    ("write alone is no request", RW, ToyPte(), HMM_PFN_REQ_WRITE, 0, 0),
    ("write to read-only", VM_READ, present(5, False), WRITE_REQ, -errno.EPERM, 0),
    ("write to read-only", VM_READ, present(5, False), 0, 0, V | 5),
    ("present", RW, present(5), 0, 0, V | W | 5),
    ("present", RW, present(5), WRITE_REQ, 0, V | W | 5),
    ("present ro", RW, present(5, False), READ_REQ, 0, V | 5),
    ("cow", RW, present(5, False), WRITE_REQ, 0, V | W | BASE >> 12),
    ("numa hint", RW, ToyPte(PteKind.PROTNONE, 5, True), 0, 0, 0),
    ("numa hint", RW, ToyPte(PteKind.PROTNONE, 5, True), READ_REQ, 0, V | W | BASE >> 12),
    ("zero page", RW, ToyPte(PteKind.ZERO, 3), 0, 0, V | 3),
    ("zero page", RW, ToyPte(PteKind.ZERO, 3), READ_REQ, 0, V | 3),
    ("zero page", RW, ToyPte(PteKind.ZERO, 3), WRITE_REQ, 0, V | W | BASE >> 12),
    ("special", RW, present(5, special=True), 0, 0, HMM_PFN_ERROR),
    ("special", RW, present(5, special=True), READ_REQ, -errno.EFAULT, 0),
    ("own private", RW, PRIVATE_RW, 0, 0, V | W | 9),
    ("own private", RW, PRIVATE_RW, WRITE_REQ, 0, V | W | 9),
    ("own private ro", RW, PRIVATE_RO, READ_REQ, 0, V | 9),
    ("own private ro, the request counts", RW, PRIVATE_RO, WRITE_REQ, 0, V | W | BASE >> 12),
    ("own private ro, read-only vma", VM_READ, PRIVATE_RO, WRITE_REQ, -errno.EPERM, 0),
    ("foreign private", RW, PRIVATE_RW._replace(owner=object()), 0, 0, 0),
    ("foreign private", RW, PRIVATE_RW._replace(owner=object()), READ_REQ, 0, V | W | BASE >> 12),
    ("swap", RW, ToyPte(PteKind.SWAP), 0, 0, 0),
    ("swap", RW, ToyPte(PteKind.SWAP), READ_REQ, 0, V | W | BASE >> 12),
    ("exclusive", RW, ToyPte(PteKind.DEVICE_EXCLUSIVE), 0, 0, 0),
    ("exclusive", RW, ToyPte(PteKind.DEVICE_EXCLUSIVE), READ_REQ, 0, V | W | BASE >> 12),
    ("migration", RW, ToyPte(PteKind.MIGRATION), 0, 0, 0),
    ("migration", RW, ToyPte(PteKind.MIGRATION), READ_REQ, 0, V | W | 77),
    ("hwpoison", RW, ToyPte(PteKind.HWPOISON), 0, 0, HMM_PFN_ERROR),
    ("hwpoison", RW, ToyPte(PteKind.HWPOISON), READ_REQ, -errno.EFAULT, 0),
]


@pytest.mark.parametrize(("flags", "pte", "request_", "ret", "pfn"), [r[1:] for r in TABLE],
                         ids=[f"{r[0]}-{r[3] >> 62}" for r in TABLE])  # fmt: skip
def test_table(flags: int, pte: ToyPte, request_: int, ret: int, pfn: int) -> None:
    got, pfns, _ = fault(flags, [pte], request_, owner=OWNER)
    assert got == ret
    if ret == 0:
        assert pfns == [pfn]


@pytest.mark.parametrize(("request_", "ret"), [(0, 0), (READ_REQ, -errno.EFAULT)])
def test_no_vma(request_: int, ret: int) -> None:
    got, pfns, mm = fault(RW, [ToyPte()] * 3, request_, vma=False)
    assert got == ret and not mm.faults
    if not ret:
        assert pfns == [HMM_PFN_ERROR] * 3


@pytest.mark.parametrize(
    ("vm_fault", "ret"),
    [(1, -errno.ENOMEM), (2, -errno.EFAULT), (0x40, -errno.EFAULT), (0x10, -errno.EFAULT)],
)
def test_fault_errors(vm_fault: int, ret: int) -> None:
    mm = ToyMm()
    mm.fault_result = vm_fault
    assert fault(RW, [ToyPte()], READ_REQ, mm)[0] == ret


def test_a_page_that_is_not_requested_never_fails() -> None:
    """A hole, a poisoned page and an unreadable VMA beside the one that is wanted."""
    mm = ToyMm()
    mm.add_vma(BASE + 2 * PAGE, BASE + 3 * PAGE, 0)
    mm.add_vma(BASE, BASE + 2 * PAGE, RW)
    ptes = [ToyPte(), ToyPte(PteKind.HWPOISON), ToyPte(), ToyPte()]
    ret, pfns, mm = fault(RW, ptes, [WRITE_REQ, 0, 0, 0], mm, vma=False)
    assert ret == 0
    assert pfns == [V | W | BASE >> 12, HMM_PFN_ERROR, HMM_PFN_ERROR, HMM_PFN_ERROR]
    assert mm.faults == [(BASE, True)]


def test_requests_are_per_page() -> None:
    ptes = [present(1, False), present(2, False), ToyPte()]
    ret, pfns, mm = fault(RW, ptes, [READ_REQ, WRITE_REQ, 0])
    assert ret == 0 and mm.faults == [(BASE + PAGE, True)]
    assert pfns == [V | 1, V | W | (BASE >> 12) + 1, 0]


def test_a_huge_leaf_fills_all_and_faults_as_a_whole() -> None:
    n = 16
    leaf = [present(512 + i, False, order=9, base=BASE) for i in range(n)]
    order = 9 << hmm.HMM_PFN_ORDER_SHIFT
    ret, pfns, mm = fault(RW, leaf, READ_REQ)
    assert ret == 0 and pfns == [V | order | 512 + i for i in range(n)] and not mm.faults
    assert (hmm.hmm_pfn_to_map_order(np.array(pfns, np.uint64)) == 9).all()
    assert hmm.hmm_pfn_number(np.array(pfns, np.uint64)).tolist() == list(range(512, 512 + n))
    ret, pfns, mm = fault(RW, leaf, [0] * 7 + [WRITE_REQ] + [0] * 8)
    assert ret == 0 and len(mm.faults) == n and pfns[7] & W


def leaf(kind: PteKind, order: int = 9, w: bool = True, owner: object = None) -> ToyPte:
    return ToyPte(kind, 512, w, order=order, base=BASE, owner=owner)


FIRST = BASE >> 12
PRIVATE = PteKind.DEVICE_PRIVATE

# A leaf above the PTE level: entry, request, result, first pfn, is its order set
LEAVES = [
    ("thp", leaf(PteKind.PRESENT), 0, 0, V | W | 512, True),
    ("thp", leaf(PteKind.PRESENT), WRITE_REQ, 0, V | W | 512, True),
    ("thp ro", leaf(PteKind.PRESENT, w=False), READ_REQ, 0, V | 512, True),
    ("thp ro", leaf(PteKind.PRESENT, w=False), WRITE_REQ, 0, V | W | FIRST, False),
    ("pud", leaf(PteKind.PRESENT, 18), READ_REQ, 0, V | W | 512, True),
    ("hugetlb 64K", leaf(PteKind.PRESENT, 4), READ_REQ, 0, V | W | 512, True),
    ("zero pmd", leaf(PteKind.ZERO), READ_REQ, 0, V | 512, True),
    ("zero pmd", leaf(PteKind.ZERO), WRITE_REQ, 0, V | W | FIRST, False),
    ("protnone pmd", leaf(PteKind.PROTNONE), 0, 0, 0, False),
    ("protnone pmd", leaf(PteKind.PROTNONE), READ_REQ, 0, V | W | FIRST, False),
    ("own private pmd", leaf(PRIVATE, owner=OWNER), 0, 0, V | W | 512, True),
    ("own private pmd", leaf(PRIVATE, owner=OWNER), WRITE_REQ, 0, V | W | 512, True),
    ("own private pmd ro", leaf(PRIVATE, w=False, owner=OWNER), READ_REQ, 0, V | 512, True),
    ("own private pmd ro", leaf(PRIVATE, w=False, owner=OWNER), WRITE_REQ, 0, V | W | FIRST, False),
    ("foreign private pmd, as a pte", leaf(PRIVATE, owner=Ops()), 0, 0, 0, False),
    ("foreign private pmd", leaf(PRIVATE, owner=Ops()), READ_REQ, 0, V | W | FIRST, False),
    ("migration pmd", leaf(PteKind.MIGRATION), 0, 0, 0, False),
    ("bad pmd", leaf(PteKind.BAD), 0, 0, HMM_PFN_ERROR, False),
    ("bad pmd", leaf(PteKind.BAD), READ_REQ, -errno.EFAULT, 0, False),
    ("hwpoison hugetlb", leaf(PteKind.HWPOISON), 0, 0, HMM_PFN_ERROR, False),
    ("hwpoison hugetlb", leaf(PteKind.HWPOISON), READ_REQ, -errno.EFAULT, 0, False),
]


@pytest.mark.parametrize(("pte", "request_", "ret", "pfn", "order"), [r[1:] for r in LEAVES],
                         ids=[f"{r[0]}-{r[2] >> 62}" for r in LEAVES])  # fmt: skip
def test_leaves(pte: ToyPte, request_: int, ret: int, pfn: int, order: bool) -> None:
    """Every page of the range is filled in, with the order of the CPU's mapping where it is one."""
    n = 8
    got, pfns, _ = fault(RW, [pte._replace(pfn=512 + i) for i in range(n)], request_, owner=OWNER)
    assert got == ret
    if ret == 0:
        high = pte.order << hmm.HMM_PFN_ORDER_SHIFT if order else 0
        numbered = pfn & hmm.HMM_PFN_MASK
        assert pfns == [(pfn | high) + i if numbered else pfn for i in range(n)]


def test_a_range_inside_a_leaf() -> None:
    """The order is that of the CPU mapping, which reaches beyond the range; the pfns are of the range."""
    inside = [present(512 + 100 + i, order=9, base=BASE - 100 * PAGE) for i in range(4)]
    ret, pfns, mm = fault(RW, inside, WRITE_REQ)
    order = 9 << hmm.HMM_PFN_ORDER_SHIFT
    assert ret == 0 and not mm.faults and pfns == [V | W | order | 612 + i for i in range(4)]


def test_migration_is_waited_for_before_any_fault() -> None:
    ret, pfns, mm = fault(RW, [ToyPte(PteKind.MIGRATION)] * 3, [0, READ_REQ, 0])
    assert ret == 0 and pfns == [0, V | W | 77, 0]
    assert mm.waits == 1 and not mm.faults


def test_a_read_only_area_is_not_written() -> None:
    """-EPERM for a hole too, and without a fault; the pages before it are faulted in."""
    ret, _, mm = fault(VM_READ, [ToyPte(), ToyPte()], [READ_REQ, WRITE_REQ])
    assert ret == -errno.EPERM and mm.faults == [(BASE, False)]


def test_a_dying_walk_leaves_no_output_of_its_input() -> None:
    """The requests do not stay where there is nothing: neither as VALID nor as WRITE."""
    ret, pfns, _ = fault(RW, [ToyPte(), ToyPte(PteKind.SWAP)], [HMM_PFN_REQ_WRITE, HMM_PFN_REQ_WRITE])
    assert ret == 0 and pfns == [0, 0]


def unlocked(mm: ToyMm, requests: list[int], timeout_ns: int = 0) -> tuple[int, list[int], int]:
    """hmm_range_fault_unlocked_timeout() of the first pages; result, pfns, times mmap_lock was dropped."""
    n = len(requests)

    async def main() -> tuple[int, list[int], int]:
        sub = MmuIntervalNotifier()
        await mmu_interval_notifier_insert(sub, mm, 0, 1 << 47, Ops())
        rng = HmmRange(sub, BASE, BASE + n * PAGE, np.array(requests, np.uint64), 0, WRITE_REQ)
        ret = await hmm.hmm_range_fault_unlocked_timeout(rng, timeout_ns)
        assert not mm.mmap_lock.readers
        assert ret or not mmu_interval_read_retry(sub, rng.notifier_seq)
        return ret, [int(p) for p in rng.pfns], mm.dropped

    return run(main())[0]


class DroppingMm(ToyMm):
    """The handler drops mmap_lock for the first `drops` faults (userfaultfd); each time, `meanwhile()`."""

    def __init__(self, drops: int) -> None:
        super().__init__()
        self.drops, self.dropped = drops, 0
        self.add_vma(BASE, BASE + 2 * PAGE, RW)

    async def handle_mm_fault(self, vma: Any, addr: int, write: bool, allow_retry: bool = False) -> int:
        assert allow_retry
        if self.dropped == self.drops:
            return await super().handle_mm_fault(vma, addr, write)
        self.dropped += 1
        self.mmap_lock.up_read()
        await self.meanwhile()
        return VM_FAULT_RETRY

    async def meanwhile(self) -> None:
        """Time goes by."""
        await sleep(10)


def test_unlocked_faults_may_drop_the_lock() -> None:
    mm = DroppingMm(3)
    mm.ptes[BASE + PAGE] = present(6)
    assert unlocked(mm, [WRITE_REQ, READ_REQ]) == (0, [V | W | FIRST, V | W | 6], 3)


def test_unlocked_timeout() -> None:
    """Without progress for so long: -EBUSY; with enough time, 0."""
    assert unlocked(DroppingMm(100), [WRITE_REQ], 45)[::2] == (-errno.EBUSY, 5)
    assert unlocked(DroppingMm(4), [WRITE_REQ], 45)[::2] == (0, 4)
    assert unlocked(DroppingMm(0), [READ_REQ, WRITE_REQ], 45)[0] == 0


def test_unlocked_retry_asks_for_no_more_than_the_caller() -> None:
    """The second page is an output of the first walk; when it is gone at the second one, it stays gone."""

    class Mm(DroppingMm):
        async def meanwhile(self) -> None:
            """The page that was not asked for is reclaimed."""
            await invalidate(self, BASE, BASE + PAGE, lambda: self.ptes.pop(BASE, None))

    mm = Mm(1)
    mm.ptes[BASE] = present(5)
    sticky = HMM_PFN_DMA_MAPPED
    ret, pfns, _ = unlocked(mm, [sticky, WRITE_REQ])
    assert ret == 0 and pfns == [sticky, V | W | FIRST + 1] and mm.faults == [(BASE + PAGE, True)]


def test_sticky_flags_survive() -> None:
    mm = ToyMm()
    mm.add_vma(BASE, BASE + PAGE, RW)
    ret, pfns, _ = fault(RW, [present(4)], [HMM_PFN_DMA_MAPPED | READ_REQ], mm, vma=False)
    assert ret == 0 and pfns == [HMM_PFN_DMA_MAPPED | V | W | 4]


def test_a_stale_section_is_busy() -> None:
    """At the start and after a fault: the notifier was called meanwhile."""
    mm = ToyMm()
    mm.add_vma(BASE, BASE + PAGE, RW)

    async def main() -> None:
        sub = MmuIntervalNotifier()
        await mmu_interval_notifier_insert(sub, mm, 0, 1 << 47, Ops())
        seq = await mmu_interval_read_begin(sub)
        await invalidate(mm, BASE, BASE + PAGE)
        rng = HmmRange(sub, BASE, BASE + PAGE, None, READ_REQ, notifier_seq=seq)
        async with mm.mmap_lock.read():
            assert await hmm_range_fault(rng) == -errno.EBUSY
            assert not mm.faults
            rng.notifier_seq = await mmu_interval_read_begin(sub)

            def on_fault(addr: int, write: bool) -> ToyPte:
                sub.invalidate_seq += 2
                return present(6)

            mm.on_fault = on_fault
            assert await hmm_range_fault(rng) == -errno.EBUSY
            assert len(mm.faults) == 1

    run(main())


def test_bad_arguments() -> None:
    async def main() -> None:
        mm, sub = ToyMm(), MmuIntervalNotifier()
        await mmu_interval_notifier_insert(sub, mm, 0, 1 << 47, Ops())
        for a, b in ((BASE, BASE), (BASE + 1, BASE + PAGE), (BASE, BASE + 5)):
            assert await hmm_range_fault(HmmRange(sub, a, b)) == -errno.EINVAL

    run(main())
