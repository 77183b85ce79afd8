"""Generated operation sequences over the mirror API: one thread, a file mapping of three pages, one device.

What the next operation is, is a choice of the strategy. After each one the device is compared with the page
table, and what the API promised with what it did.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import Any

from sw_model import hmm_mirror as hm
from sw_model.explore.notes import note
from sw_model.explore.world import BASE, PAGE, REQUEST, ToyMm, ToyPte, ToyVma
from sw_model.fault import VM_FAULT_RETRY, VM_FAULT_SIGBUS
from sw_model.hmm import HMM_PFN_MASK
from sw_model.locking import is_freed
from sw_model.mirror_api import MirrorApi
from sw_model.mmu_notifier import (
    MmuNotifierRange,
    MmuNotifyEvent,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from sw_model.pagetable import PteKind
from sw_model.sched import Scheduler, point

PAGES = 3
LENGTH = 6
UNFILLED = 0xDEAD


class FileMm(ToyMm):
    """An mm_struct that maps PAGES pages of a file of `size` pages; a page in `slow` has to be read in."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds = [PteKind.NONE] * PAGES
        self.frames = [0] * PAGES
        self.size = PAGES
        self.slow: set[int] = set()

    def find_vma(self, addr: int) -> ToyVma | None:
        """find_vma()."""
        end = BASE + PAGES * PAGE
        return ToyVma(BASE, end, 3, self) if addr < end else None

    def pte(self, addr: int) -> ToyPte:
        """The entry, decoded."""
        i = (addr - BASE) // PAGE
        return ToyPte(self.kinds[i], self.frames[i], self.kinds[i] is PteKind.PRESENT, base=addr)

    async def handle_mm_fault(self, vma: Any, addr: int, write: bool, allow_retry: bool = False) -> int:
        """handle_mm_fault(): SIGBUS beyond the end; waits for I/O without mmap_lock if that is allowed."""
        await point("fault", self)
        i = (addr - BASE) // PAGE
        if i >= self.size:
            return VM_FAULT_SIGBUS
        if i in self.slow:
            self.slow.discard(i)
            if allow_retry:
                self.mmap_lock.up_read()
                return VM_FAULT_RETRY
        self.kinds[i], self.frames[i] = PteKind.PRESENT, self.next_pfn
        self.next_pfn += 1
        return 0

    async def drop(self, first: int, last: int, kind: PteKind = PteKind.NONE) -> None:
        """The pages `first` to `last` are unmapped, or get an entry of another kind."""
        r = MmuNotifierRange(self, BASE + first * PAGE, BASE + (last + 1) * PAGE, MmuNotifyEvent.CLEAR)
        await mmu_notifier_invalidate_range_start(r)
        for i in range(first, last + 1):
            self.kinds[i], self.frames[i] = kind, 0
        await mmu_notifier_invalidate_range_end(r)


class _Ops(hm.HmmMirrorOps):
    async def sync_cpu_device_pagetables(self, mirror: Any, update: hm.HmmUpdate) -> int:
        for i in list(mirror.mapped):
            if update.start < BASE + (i + 1) * PAGE and BASE + i * PAGE < update.end:
                del mirror.mapped[i]
        return 0

    async def release(self, mirror: Any) -> None:
        mirror.mapped.clear()


class Device(hm.HmmMirror):
    """A mirror and the frames that the device maps, by page."""

    def __init__(self) -> None:
        super().__init__(_Ops())
        self.mapped: dict[int, int] = {}


class Operations:
    """The process, the device, and what can happen to them."""

    def __init__(self, sched: Scheduler, api: MirrorApi) -> None:
        self.sched = sched
        self.api = api
        self.mm = FileMm()
        self.mirror = Device()
        self.registered = False
        self.all: tuple[Callable[[], Awaitable[None]], ...] = (
            self.register, self.unregister, self.truncate, self.evict, self.poison, self.fault,
            self.fault_without_blocking, self.snapshot, self.neighbour,
        )  # fmt: skip

    async def run(self) -> None:
        """LENGTH operations, and the process ends."""
        for _ in range(LENGTH):
            how = self.all[self.sched.choose(len(self.all))]  # type: ignore[attr-defined]
            note(how.__name__)
            await how()
            self.check()
        await self.unregister()
        await self.mm.mmput()

    def check(self) -> None:
        """The device maps what the page table maps, and nothing is held between operations."""
        for i, pfn in self.mirror.mapped.items():
            assert self.mm.frames[i] == pfn, f"the device maps frame {pfn} for page {i}"
        hmm = self.mm.hmm
        assert hmm is None or not hmm.ranges, "a range is left on the hmm's list"
        assert hmm is None or hmm.kref.read() == 1, f"{hmm.kref.read()} references on the hmm, one mirror"
        assert not self.mm.mmap_lock.readers, "mmap_lock is left held"

    async def register(self) -> None:
        """hmm_mirror_register()."""
        if not self.registered:
            async with self.mm.mmap_lock.write():
                assert await self.api.register(self.mirror, self.mm) == 0
            self.registered = True

    async def unregister(self) -> None:
        """hmm_mirror_unregister()."""
        if self.registered:
            self.registered = False
            await self.api.unregister(self.mirror)
            self.mirror.mapped.clear()

    async def truncate(self) -> None:
        """ftruncate() to one page."""
        await self.mm.drop(1, PAGES - 1)
        self.mm.size = 1

    async def evict(self) -> None:
        """Page 0 leaves memory."""
        await self.mm.drop(0, 0)
        self.mm.slow.add(0)

    async def poison(self) -> None:
        """memory_failure() of page 1."""
        await self.mm.drop(1, 1, PteKind.HWPOISON)

    def expected(self, first: int, last: int) -> int:
        """What hmm_vma_fault() of the pages owes."""
        if not self.registered:
            return -errno.EINVAL
        bad = any(i >= self.mm.size or self.mm.kinds[i] is PteKind.HWPOISON for i in range(first, last + 1))
        return -errno.EFAULT if bad else 0

    async def begin(self, first: int, last: int, block: bool = True) -> tuple[int, Any]:
        """hmm_vma_fault() of some pages under mmap_lock, which is dropped again; 0: the range is active."""
        api, mm = self.api, self.mm
        expected = self.expected(first, last)
        while True:
            await mm.mmap_lock.down_read()
            vma = mm.find_vma(BASE)
            rng = api.range(vma, BASE + first * PAGE, BASE + (last + 1) * PAGE, REQUEST)
            ret = await api.fault(self.mirror, rng, block)
            if ret != -errno.EBUSY or block:
                mm.mmap_lock.up_read()
                break
            if api.busy_drops_lock:
                await api.done(rng)
            else:
                mm.mmap_lock.up_read()
        assert ret == expected, f"hmm_vma_fault gave {ret}, not {expected}"
        if ret and rng.hmm is not None:
            # What was taken is given back.
            await api.done(rng)
        return ret, rng

    async def commit(self, rng: Any) -> None:
        """hmm_vma_range_done() and the device's page table."""
        if await self.api.done(rng):
            first = (rng.start - BASE) // PAGE
            for i, pfn in enumerate(rng.pfns):
                self.mirror.mapped[first + i] = int(pfn) & HMM_PFN_MASK

    async def fault(self) -> None:
        """The device faults on every page; the service may sleep and keeps mmap_lock."""
        ret, rng = await self.begin(0, PAGES - 1)
        if not ret:
            await self.commit(rng)

    async def fault_without_blocking(self) -> None:
        """The device faults on page 0; the service does not wait for I/O under mmap_lock."""
        ret, rng = await self.begin(0, 0, block=False)
        if not ret:
            await self.commit(rng)

    async def neighbour(self) -> None:
        """A fault of page 1, while page 0 goes."""
        ret, rng = await self.begin(1, 1)
        if ret:
            return
        await self.mm.drop(0, 0)
        assert await self.api.done(rng), "an invalidation of the page before it ended the range"

    async def snapshot(self) -> None:
        """hmm_vma_get_pfns() of every page."""
        mm = self.mm
        await mm.mmap_lock.down_read()
        rng = self.api.range(mm.find_vma(BASE), BASE, BASE + PAGES * PAGE)
        rng.pfns[:] = UNFILLED
        ret = await self.api.get_pfns(self.mirror, rng)
        mm.mmap_lock.up_read()
        if ret:
            return
        assert await self.api.done(rng)
        for i, pfn in enumerate(rng.pfns):
            assert pfn != UNFILLED, f"hmm_vma_get_pfns gave 0 and left page {i} as it was"
            assert int(pfn) & HMM_PFN_MASK == mm.frames[i], f"snapshot of page {i}: {int(pfn):#x}"


def build(sched: Scheduler, api: MirrorApi) -> Callable[[], None]:
    """One process and one device."""
    ops = Operations(sched, api)
    sched.spawn(ops.run(), "operations")

    def check() -> None:
        assert is_freed(ops.mm), "the mm_struct leaks"

    return check
