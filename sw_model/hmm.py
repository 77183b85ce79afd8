"""hmm_range_fault(): read, and where asked fault in, the CPU page table for a device (mm/hmm.c of Linux 7.3).

The pages are not referenced: only the interval notifier protects them. A driver runs

    while True:
        rng.notifier_seq = await mmu_interval_read_begin(sub)
        rng.pfns[:] = 0
        async with mm.mmap_lock.read():
            ret = await hmm_range_fault(rng)
        if ret == -EBUSY: continue
        async with driver_lock:
            if mmu_interval_read_retry(sub, rng.notifier_seq): continue
            ... program the device ...

What differs from Linux 7.3 on purpose: a request on a device-private entry of the caller's own is honoured
(Linux returns it without looking at the request); a snapshot has a poisoned page as ERROR (Linux: 0) and
a foreign device-private PMD as 0, like a PTE (Linux: ERROR); hmm_range_fault_unlocked_timeout() restores
the requests before it tries again; and below a 2-MiB leaf only the pages that were asked for are faulted, not
the rest of the page table.
"""

from __future__ import annotations

import errno
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw_model.fault import VM_FAULT_ERROR, VM_FAULT_OOM, VM_FAULT_RETRY
from sw_model.locking import current
from sw_model.mmu_notifier import MmuIntervalNotifier, mmu_interval_check_retry, mmu_interval_read_begin
from sw_model.pagetable import PAGE_SHIFT, PAGE_SIZE, PteKind
from sw_model.sched import point
from sw_model.vma import VM_IO, VM_PFNMAP, VM_READ, VM_WRITE

HMM_PFN_VALID = 1 << 63
HMM_PFN_WRITE = 1 << 62
HMM_PFN_ERROR = 1 << 61
HMM_PFN_DMA_MAPPED = 1 << 60
HMM_PFN_P2PDMA = 1 << 59
HMM_PFN_P2PDMA_BUS = 1 << 58
HMM_PFN_ORDER_SHIFT = 53
HMM_PFN_REQ_FAULT = HMM_PFN_VALID
HMM_PFN_REQ_WRITE = HMM_PFN_WRITE
HMM_PFN_INOUT_FLAGS = HMM_PFN_DMA_MAPPED | HMM_PFN_P2PDMA | HMM_PFN_P2PDMA_BUS
HMM_PFN_MASK = (1 << HMM_PFN_ORDER_SHIFT) - 1

_NEED_FAULT, _NEED_WRITE = 1, 2
#: no fault brings these back
_UNUSABLE = (PteKind.HWPOISON, PteKind.BAD)


class HmmRange:
    """struct hmm_range: [start, end) of notifier.mm, page aligned; `pfns` has one uint64 a page.

    pfns are input and output: the request of a page is (pfns & pfn_flags_mask) | default_flags. Clear them
    before each retry unless pfn_flags_mask is 0.
    """

    def __init__(
        self,
        notifier: MmuIntervalNotifier,
        start: int,
        end: int,
        pfns: NDArray[np.uint64] | None = None,
        default_flags: int = 0,
        pfn_flags_mask: int = 0,
        dev_private_owner: object = None,
        notifier_seq: int = 0,
    ) -> None:
        self.notifier = notifier
        self.notifier_seq = notifier_seq
        self.start = start
        self.end = end
        npages = (end - start) >> PAGE_SHIFT
        self.pfns = np.zeros(npages, np.uint64) if pfns is None else pfns
        self.default_flags = default_flags
        self.pfn_flags_mask = pfn_flags_mask
        self.dev_private_owner = dev_private_owner


def hmm_pfn_to_map_order(pfns: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """hmm_pfn_to_map_order(): log2 pages of the CPU mapping. It may reach beyond the range: clip it."""
    return (np.asarray(pfns, np.uint64) >> np.uint64(HMM_PFN_ORDER_SHIFT)) & np.uint64(0x1F)


def hmm_pfn_number(pfns: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The page frame numbers, without flags."""
    return np.asarray(pfns, np.uint64) & np.uint64(HMM_PFN_MASK)


class WalkBusy(Exception):
    """The walk starts again at the address that it had reached (internal -EBUSY)."""


class WalkUnlocked(Exception):
    """A fault has dropped mmap_lock: what the walk knows of VMAs is void."""


class WalkFail(Exception):
    """The walk ends with `code`, a negative errno."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def _need(request: int, cpu_flags: int) -> int:
    """hmm_pte_need_fault() of one request (mask and default already applied)."""
    if not request & HMM_PFN_REQ_FAULT:
        return 0
    if request & HMM_PFN_REQ_WRITE and not cpu_flags & HMM_PFN_WRITE:
        return _NEED_FAULT | _NEED_WRITE
    return 0 if cpu_flags & HMM_PFN_VALID else _NEED_FAULT


class Walk:
    """One hmm_range_fault() call: struct hmm_vma_walk."""

    def __init__(self, rng: Any) -> None:
        self.rng = rng
        self.mm: Any = rng.notifier.mm
        self.last = rng.start
        self.may_fault = bool((rng.default_flags | rng.pfn_flags_mask) & HMM_PFN_REQ_FAULT)
        #: faults may drop mmap_lock
        self.unlockable = False
        self.faulted = 0

    def pfns(self, addr: int, end: int) -> NDArray[np.uint64]:
        """The caller's pfns of [addr, end), as a view."""
        base = self.rng.start
        return self.rng.pfns[(addr - base) >> PAGE_SHIFT : (end - base) >> PAGE_SHIFT]

    def need_range(self, addr: int, end: int, cpu_flags: int) -> int:
        """hmm_range_need_fault(): the union of what the pages of [addr, end) need."""
        if not self.may_fault:
            return 0
        if not self.rng.pfn_flags_mask:
            return _need(self.rng.default_flags, cpu_flags)
        mask, default = self.rng.pfn_flags_mask, self.rng.default_flags
        if end - addr == PAGE_SIZE:
            request = int(self.rng.pfns[(addr - self.rng.start) >> PAGE_SHIFT])
            return _need(request & mask | default, cpu_flags)
        need = 0
        for request in set(self.pfns(addr, end).tolist()):
            need |= _need(request & mask | default, cpu_flags)
        return need

    def fill(self, addr: int, end: int, value: int) -> None:
        """hmm_pfns_fill(): sticky flags stay."""
        self.last = end
        if end - addr == PAGE_SIZE:
            i = (addr - self.rng.start) >> PAGE_SHIFT
            self.rng.pfns[i] = int(self.rng.pfns[i]) & HMM_PFN_INOUT_FLAGS | value
            return
        pfns = self.pfns(addr, end)
        pfns &= np.uint64(HMM_PFN_INOUT_FLAGS)
        if value:
            pfns |= np.uint64(value)

    def fill_run(self, addr: int, end: int, pfn: int, flags: int) -> None:
        """Consecutive frames from `pfn`."""
        pfns = self.pfns(addr, end)
        pfns &= np.uint64(HMM_PFN_INOUT_FLAGS)
        pfns |= np.arange(pfn, pfn + len(pfns), dtype=np.uint64)
        pfns |= np.uint64(flags)
        self.last = end

    async def fault(self, vma: Any, addr: int, end: int, need: int) -> None:
        """hmm_vma_fault(): fault every page of [addr, end), then walk again. -EPERM, -EFAULT, -ENOMEM."""
        write = bool(need & _NEED_WRITE)
        if write and not vma.vm_flags & VM_WRITE:
            raise WalkFail(-errno.EPERM)
        self.last = addr
        for a in range(addr, end, PAGE_SIZE):
            retry = {"allow_retry": True} if self.unlockable else {}
            ret = await self.mm.handle_mm_fault(vma, a, write, **retry)
            if ret & VM_FAULT_RETRY:
                raise WalkUnlocked
            if ret & VM_FAULT_ERROR:
                raise WalkFail(-errno.ENOMEM if ret & VM_FAULT_OOM else -errno.EFAULT)
            self.faulted += 1
        raise WalkBusy

    def cpu_flags(self, pte: Any) -> int:
        """pte_to_hmm_pfn_flags(): what a device could do through the entry; 0 for nothing."""
        kind = pte.kind
        if kind is PteKind.PRESENT:
            flags = HMM_PFN_VALID | (HMM_PFN_WRITE if pte.writable else 0)
        elif kind is PteKind.ZERO:
            flags = HMM_PFN_VALID
        elif kind is PteKind.DEVICE_PRIVATE and self.own(pte):
            flags = HMM_PFN_VALID | (HMM_PFN_WRITE if pte.writable else 0)
        else:
            return 0
        return flags | pte.order << HMM_PFN_ORDER_SHIFT

    def own(self, pte: Any) -> bool:
        """hmm_is_device_private_entry(): is the device-private page the caller's?"""
        owner = self.rng.dev_private_owner
        return owner is not None and pte.owner is owner

    async def entry(self, vma: Any, addr: int, stop: int) -> int:
        """One leaf at `addr` (hmm_vma_handle_pte/_pmd, walk_pud, walk_hugetlb); where what it stored ends."""
        await point("pte", self.mm)
        pte = self.mm.pte(addr)
        flags = self.cpu_flags(pte)
        end = addr + PAGE_SIZE
        if pte.order:
            end = min(stop, pte.base + (PAGE_SIZE << pte.order))
        need = self.need_range(addr, end, flags)
        if need:
            if pte.kind is PteKind.MIGRATION:
                self.last = addr
                await self.mm.migration_entry_wait(addr)
                raise WalkBusy
            if pte.kind in _UNUSABLE:
                raise WalkFail(-errno.EFAULT)
            await self.fault(vma, addr, end, need)
        if getattr(pte, "special", False):
            if self.need_range(addr, end, 0):
                raise WalkFail(-errno.EFAULT)
            self.fill(addr, end, HMM_PFN_ERROR)
        elif flags and end - addr > PAGE_SIZE:
            self.fill_run(addr, end, pte.pfn, flags)
        elif flags:
            self.fill(addr, end, pte.pfn | flags)
        else:
            self.fill(addr, end, HMM_PFN_ERROR if pte.kind in _UNUSABLE else 0)
        return end

    async def run(self, addr: int, end: int) -> None:
        """walk_page_range() with hmm_walk_ops."""
        while addr < end:
            vma = self.mm.find_vma(addr)
            if vma is None or vma.vm_start > addr:
                stop = end if vma is None else min(end, vma.vm_start)
                if self.need_range(addr, stop, 0):
                    raise WalkFail(-errno.EFAULT)
                self.fill(addr, stop, HMM_PFN_ERROR)
                addr = stop
                continue
            stop = min(end, vma.vm_end)
            if vma.vm_flags & (VM_IO | VM_PFNMAP) or not vma.vm_flags & VM_READ:
                if self.need_range(addr, stop, 0):
                    raise WalkFail(-errno.EFAULT)
                self.fill(addr, stop, HMM_PFN_ERROR)
                addr = stop
                continue
            while addr < stop:
                addr = await self.entry(vma, addr, stop)


async def hmm_range_fault(rng: HmmRange) -> int:
    """hmm_range_fault(): fill rng.pfns from the CPU page table; fault where it is asked for.

    The caller holds mmap_lock and rng.notifier_seq comes from mmu_interval_read_begin().

    - 0: every pfn is filled in; every request is met.
    - -EBUSY: the range was invalidated; begin again with read_begin.
    - -EFAULT: a requested page has no mapping that a device can use. -EPERM: write to a read-only VMA.
    - -ENOMEM: a fault found no memory. -EINVAL: empty or unaligned range.
    """
    if _bad_range(rng):
        return -errno.EINVAL
    walk = Walk(rng)
    walk.mm.mmap_lock.assert_held()
    return await _walk(walk)


async def hmm_range_fault_unlocked_timeout(rng: HmmRange, timeout_ns: int = 0) -> int:
    """hmm_range_fault_unlocked_timeout(): with read section, mmap_lock and retries of its own.

    The caller holds no mmap_lock and a reference to the mm's users. Faults may drop the lock. As
    hmm_range_fault(), with rng.notifier_seq to be checked by mmu_interval_read_retry(); -EBUSY only after
    `timeout_ns` (0: never) without a fault that made progress.
    """
    if _bad_range(rng):
        return -errno.EINVAL
    mm: Any = rng.notifier.mm
    requests = rng.pfns.copy()
    clock = (await current()).sched.clock
    deadline = clock.now() + timeout_ns
    while True:
        rng.notifier_seq = await mmu_interval_read_begin(rng.notifier)
        await mm.mmap_lock.down_read()
        walk = Walk(rng)
        walk.unlockable = True
        try:
            ret = await _walk(walk)
        except WalkUnlocked:
            ret = -errno.EBUSY
        else:
            mm.mmap_lock.up_read()
        if ret != -errno.EBUSY:
            return ret
        if walk.faulted:
            deadline = clock.now() + timeout_ns
        elif timeout_ns and clock.now() >= deadline:
            return ret
        restore_requests(rng, requests)


def restore_requests(rng: HmmRange, requests: NDArray[np.uint64]) -> None:
    """Undo the outputs of a walk: what it stored is not to be taken for requests. Sticky flags stay."""
    rng.pfns &= np.uint64(HMM_PFN_INOUT_FLAGS)
    rng.pfns |= requests


def _bad_range(rng: HmmRange) -> bool:
    return rng.start >= rng.end or bool((rng.start | rng.end) & (PAGE_SIZE - 1))


async def _walk(walk: Walk) -> int:
    rng = walk.rng
    while True:
        if await mmu_interval_check_retry(rng.notifier, rng.notifier_seq):
            return -errno.EBUSY
        try:
            await walk.run(walk.last, rng.end)
        except WalkBusy:
            continue
        except WalkFail as e:
            return e.code
        return 0
