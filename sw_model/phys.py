"""Physical memory: frames of 4 KiB in one numpy buffer that is shared with the device.

A folio is one frame or 512 contiguous, aligned ones (a compound page); its reference count is kept on its
head frame, its map count on each frame. Freed frames are poisoned with 0x6b and soon reused. Calls that are
not `async` never switch threads: they model one atomic operation, or code under a lock of the page allocator.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw_model.lockdep import FS_RECLAIM
from sw_model.locking import KernelBug
from sw_model.pagetable import HPAGE_NR, PAGE_SIZE
from sw_model.sched import WaitQueue, point
from sw_model.swap import SwapArea

PG_ANON, PG_EXCL, PG_SWAPCACHE, PG_DIRTY = 0x1, 0x2, 0x4, 0x8
PG_FILE, PG_KSM, PG_RESERVED, PG_LAZYFREE = 0x10, 0x20, 0x40, 0x80
PG_HUGE = 0x100
PG_ZONE_DEVICE, PG_DEVICE_PRIVATE = 0x200, 0x400
PG_HUGETLB, PG_HWPOISON = 0x800, 0x1000
POISON_FREE = 0x6B
HOOKS = (
    "on_frame_alloc", "on_frame_free", "on_pte_set", "on_pte_clear", "on_device_pte",
    "on_mm_create", "on_mm_release", "on_mm_free",
)  # fmt: skip


class PhysMem:
    """All memory of the host.

    `memory`: uint8, C-contiguous, writable. Frames `first_pfn` .. `first_pfn + nr_frames` are managed; a pfn
    is a byte offset in `memory` >> 12. The last `device_frames` frames of `memory` are not managed: they are
    the aperture of the devices' own memory (devmem.DevPagemap). `swap_slots`: size of the swap device in
    pages (default: as many as frames). `reuse_window`: a page comes from the last so many freed ones, chosen
    by `seed`.
    """

    def __init__(
        self,
        memory: NDArray[np.uint8],
        seed: int = 0,
        first_pfn: int = 1,
        nr_frames: int | None = None,
        swap_slots: int | None = None,
        reuse_window: int = 4,
        direct_reclaim: bool = True,
        device_frames: int = 0,
    ) -> None:
        total = memory.size // PAGE_SIZE - device_frames
        n = total - first_pfn if nr_frames is None else nr_frames
        assert memory.dtype == np.uint8 and memory.flags.c_contiguous and 0 < n <= total - first_pfn
        self.memory = memory
        self.mv = memoryview(memory)
        self.first_pfn, self.end_pfn, self.nframes = first_pfn, first_pfn + n, n
        self.rng = random.Random(seed)
        self.reuse_window = max(1, reuse_window)
        self.direct_reclaim = direct_reclaim
        #: the aperture: [device_pfn, device_end), and what is taken of it as (first pfn, frames)
        self.device_pfn = total
        self.device_end = size = total + device_frames
        self._device_used: list[tuple[int, int]] = []
        self.refcount = np.zeros(size, np.int32)
        self.mapcount = np.zeros(size, np.int32)
        self.flags = np.zeros(size, np.uint32)
        self.head = np.arange(size, dtype=np.int32)
        self._is_free = bytearray(size)
        self._is_free[first_pfn : self.end_pfn] = b"\1" * n
        self._stack = list(range(self.end_pfn - 1, first_pfn - 1, -1))
        self._block_free = [0] * ((size + HPAGE_NR - 1) // HPAGE_NR)
        for b in range(len(self._block_free)):
            lo, hi = max(b * HPAGE_NR, first_pfn), min((b + 1) * HPAGE_NR, self.end_pfn)
            self._block_free[b] = max(0, hi - lo)
        self.nr_free = n
        self._locked: dict[int, WaitQueue] = {}
        # Reverse maps: page -> [(mm, vaddr)] of PTEs, of huge leaves (by head), and of migration entries.
        self.rmap: dict[int, list[tuple[Any, int]]] = {}
        self.rmap_pmd: dict[int, list[tuple[Any, int]]] = {}
        self.rmap_mig: dict[int, list[tuple[Any, int]]] = {}
        self.mapping: dict[int, tuple[Any, int]] = {}  # page cache: pfn -> (File, index)
        self.slot_of: dict[int, int] = {}  # swap cache: pfn -> slot
        self.hugetlb: Any = None  # the pool (hugetlb.HugetlbPool)
        self.pgmaps: list[Any] = []  # device memory (devmem.DevPagemap)
        self.swap = SwapArea(n if swap_slots is None else swap_slots)
        self.stats = dict.fromkeys(
            ("alloc", "free", "huge_alloc", "swap_out", "swap_in", "migrate", "collapse", "split", "reclaim",
             "cow", "reuse", "fault", "zero_fault", "ksm"), 0)  # fmt: skip
        for name in HOOKS:
            setattr(self, name, None)
        self.on_frame_alloc: Callable | None
        self.on_frame_free: Callable | None
        self.on_pte_set: Callable | None
        self.on_pte_clear: Callable | None
        self.on_device_pte: Callable | None
        self.on_mm_create: Callable | None
        self.on_mm_release: Callable | None
        self.on_mm_free: Callable | None
        self.zero_pfn = self.alloc_page_nowait()
        self.memory[self.zero_pfn * PAGE_SIZE : (self.zero_pfn + 1) * PAGE_SIZE] = 0
        self.flags[self.zero_pfn] = PG_RESERVED

    # -- observers ---------------------------------------------------------------------------------

    def add_observer(self, obj: object) -> None:
        """Call the methods of HOOKS that `obj` has, after those of earlier observers."""
        for name in HOOKS:
            new = getattr(obj, name, None)
            old = getattr(self, name)
            if new is not None:
                setattr(self, name, new if old is None else _chain(old, new))

    # -- allocator ---------------------------------------------------------------------------------

    def _take(self, pfn: int, nr: int) -> None:
        self._is_free[pfn : pfn + nr] = bytes(nr)
        b = pfn // HPAGE_NR
        left = nr
        while left:
            k = min(left, (b + 1) * HPAGE_NR - max(pfn, b * HPAGE_NR))
            self._block_free[b] -= k
            left -= k
            b += 1
        self.nr_free -= nr
        self.stats["alloc"] += nr
        self.refcount[pfn] = 1
        if self.on_frame_alloc is not None:
            self.on_frame_alloc(pfn, nr)

    def alloc_page_nowait(self) -> int:
        """A frame with one reference and undefined contents, or -1 (alloc_page(GFP_NOWAIT))."""
        stack, is_free = self._stack, self._is_free
        while stack:
            k = min(self.reuse_window, len(stack))
            i = len(stack) - 1 - (int(self.rng.random() * k) if k > 1 else 0)
            pfn = stack[i]
            stack[i] = stack[-1]
            stack.pop()
            if is_free[pfn]:  # stale when a contiguous allocation took it
                self._take(pfn, 1)
                return pfn
        return -1

    async def alloc_page(self, zero: bool = False) -> int:
        """A frame with one reference, zeroed if asked; -1 when there is none (alloc_page(GFP_KERNEL)).

        Reclaims directly when memory is short, so that it may send invalidations: not for use under a
        spinlock, nor between invalidate_range_start and _end.
        """
        FS_RECLAIM.touch()
        await point("alloc", self)
        pfn = self.alloc_page_nowait()
        tries = 0
        while pfn < 0 and self.direct_reclaim and tries < 4:
            from sw_model.reclaim import reclaim_pages

            tries += 1
            with FS_RECLAIM:
                reclaimed = await reclaim_pages(self, 16)
            if not reclaimed and tries > 2:
                break
            pfn = self.alloc_page_nowait()
        if zero and pfn >= 0:
            self.memory[pfn * PAGE_SIZE : (pfn + 1) * PAGE_SIZE] = 0
        return pfn

    def alloc_huge(self) -> int:
        """512 aligned frames as one compound page with one reference; the head, or -1 when fragmented."""
        for b in range(len(self._block_free) - 1, -1, -1):
            if self._block_free[b] == HPAGE_NR:
                pfn = b * HPAGE_NR
                self._take(pfn, HPAGE_NR)
                self.head[pfn : pfn + HPAGE_NR] = pfn
                self.flags[pfn] = PG_HUGE
                self.stats["huge_alloc"] += 1
                return pfn
        return -1

    def alloc_contig(self, nr: int, align: int = 1) -> int:
        """`nr` contiguous frames, zeroed, aligned to `align` frames, each with one reference; for rings.

        Raises OSError(ENOMEM). Models dma_alloc_coherent.
        """
        pfn = (self.end_pfn - nr) // align * align
        while pfn >= self.first_pfn:
            busy = self._is_free.rfind(0, pfn, pfn + nr)
            if busy < 0:
                self._take(pfn, nr)
                self.refcount[pfn : pfn + nr] = 1
                self.flags[pfn : pfn + nr] = PG_RESERVED
                self.memory[pfn * PAGE_SIZE : (pfn + nr) * PAGE_SIZE] = 0
                return pfn
            pfn = (busy - nr) // align * align
        raise OSError(errno.ENOMEM, f"no {nr} contiguous frames")

    def free_contig(self, pfn: int, nr: int) -> None:
        """Give back what alloc_contig gave."""
        for p in range(pfn, pfn + nr):
            self.put_page(p)

    def alloc_device(self, nr: int, align: int = 1) -> int:
        """`nr` contiguous frames of the aperture, aligned to `align` frames (request_free_mem_region).

        Raises OSError(ENOMEM).
        """
        pfn = -(-self.device_pfn // align) * align
        for first, n in [*self._device_used, (self.device_end, 0)]:
            if pfn + nr <= first:
                self._device_used = sorted([*self._device_used, (pfn, nr)])
                return pfn
            pfn = max(pfn, -(-(first + n) // align) * align)
        raise OSError(errno.ENOMEM, f"no {nr} contiguous frames in the device-memory aperture")

    def free_device(self, pfn: int, nr: int) -> None:
        """Give back what alloc_device gave."""
        self._device_used.remove((pfn, nr))
        self.refcount[pfn : pfn + nr] = self.flags[pfn : pfn + nr] = 0

    def get_page(self, pfn: int) -> None:
        """One more reference on the folio of `pfn`."""
        h = self.head[pfn]
        assert self.refcount[h] > 0, f"get_page of free pfn {pfn}"
        self.refcount[h] += 1

    def put_page(self, pfn: int) -> bool:
        """Drop a reference on the folio of `pfn`; True when that freed it (poisoned, for reuse)."""
        h = int(self.head[pfn])
        n = int(self.refcount[h]) - 1
        assert n >= 0, f"put_page of free pfn {pfn}"
        self.refcount[h] = n
        if n:
            return False
        if self.flags[h] & PG_ZONE_DEVICE:
            self.pgmap(h).page_free(h)
            return True
        if self.flags[h] & PG_HUGETLB:
            self.hugetlb.page_free(h)
            return True
        self._free(h, HPAGE_NR if self.flags[h] & PG_HUGE else 1)
        return True

    def _free(self, pfn: int, nr: int) -> None:
        if nr == 1:
            mapped = bool(self.mapcount[pfn])
        else:
            mapped = bool(self.mapcount[pfn : pfn + nr].any())
            self.head[pfn : pfn + nr] = np.arange(pfn, pfn + nr, dtype=np.int32)
        assert not mapped, f"pfn {pfn} freed while mapped"
        assert pfn not in self._locked, f"pfn {pfn} freed while locked"
        assert pfn not in self.mapping and pfn not in self.slot_of, f"pfn {pfn} freed while cached"
        assert not self._is_free[pfn], f"double free of pfn {pfn}"
        if self.on_frame_free is not None:
            self.on_frame_free(pfn, nr)
        self.flags[pfn : pfn + nr] = 0
        self.memory[pfn * PAGE_SIZE : (pfn + nr) * PAGE_SIZE] = POISON_FREE
        self._is_free[pfn : pfn + nr] = b"\1" * nr
        for p in range(pfn, pfn + nr, HPAGE_NR):
            self._block_free[p // HPAGE_NR] += min(nr, HPAGE_NR)
        self.nr_free += nr
        self.stats["free"] += nr
        if nr == 1:
            self._stack.append(pfn)
        else:
            self._stack.extend(range(pfn + nr - 1, pfn - 1, -1))
        if len(self._stack) > 4 * self.nframes:
            self._stack = [p for p in dict.fromkeys(self._stack) if self._is_free[p]]

    def pgmap(self, pfn: int) -> Any:
        """The device memory that `pfn` belongs to (page_pgmap)."""
        return next(m for m in self.pgmaps if m.first_pfn <= pfn < m.end_pfn)

    # -- folios ------------------------------------------------------------------------------------

    def order_of(self, pfn: int) -> int:
        """0, or 9 for a page of a 2-MiB folio."""
        return 9 if self.flags[self.head[pfn]] & PG_HUGE else 0

    def split_compound(self, head: int) -> None:
        """Turn a compound page into 512 folios; each gets the head's references that are its own.

        The caller has frozen it: no page table maps it and only the caller's reference is left.
        """
        assert self.refcount[head] == 1 and not self.mapcount[head : head + HPAGE_NR].any()
        fl = int(self.flags[head]) & ~(PG_HUGE | PG_EXCL)
        self.head[head : head + HPAGE_NR] = np.arange(head, head + HPAGE_NR, dtype=np.int32)
        self.flags[head : head + HPAGE_NR] = (self.flags[head : head + HPAGE_NR] & PG_EXCL) | fl
        self.refcount[head : head + HPAGE_NR] = 1

    def page_view(self, pfn: int) -> NDArray[np.uint8]:
        """The 4096 bytes of a frame."""
        return self.memory[pfn * PAGE_SIZE : (pfn + 1) * PAGE_SIZE]

    def copy_pages(self, dst: int, src: int, nr: int = 1) -> None:
        """Copy `nr` whole frames (copy_user_highpage)."""
        n = nr * PAGE_SIZE
        dst, src = dst * PAGE_SIZE, src * PAGE_SIZE
        self.memory[dst : dst + n] = self.memory[src : src + n]

    def set_page_dirty(self, pfn: int) -> None:
        """The page holds data that its backing store has not; needed for writes the CPU PTE did not see."""
        h = self.head[pfn]
        if self.refcount[h] <= 0:
            raise KernelBug(f"set_page_dirty of free pfn {pfn}")
        self.flags[h] |= PG_DIRTY

    def expected_refs(self, head: int, nr: int = 1) -> int:
        """References that mappings and caches account for; any more is a pin (folio_expected_ref_count)."""
        n = len(self.rmap_pmd.get(head, ()))
        if nr == 1:
            n += len(self.rmap.get(head, ()))
        else:
            n += sum(len(self.rmap.get(p, ())) for p in range(head, head + nr))
        return n + (head in self.slot_of) + (head in self.mapping)

    async def lock_page(self, pfn: int) -> None:
        """folio_lock(): sleep until this thread owns the folio lock. The caller holds a reference."""
        h = int(self.head[pfn])
        await point("folio", h)
        while h in self._locked:
            await self._locked[h].wait(lambda wq=self._locked[h]: self._locked.get(h) is not wq)
        self._locked[h] = WaitQueue(f"folio {h}")

    def trylock_page(self, pfn: int) -> bool:
        """folio_trylock()."""
        h = int(self.head[pfn])
        if h in self._locked:
            return False
        self._locked[h] = WaitQueue(f"folio {h}")
        return True

    def unlock_page(self, pfn: int) -> None:
        """folio_unlock()."""
        wq = self._locked.pop(int(self.head[pfn]))
        wq.wake_all()

    def page_locked(self, pfn: int) -> bool:
        """folio_test_locked()."""
        return int(self.head[pfn]) in self._locked

    async def wait_on_page_locked(self, pfn: int) -> None:
        """folio_wait_locked(): sleep until the folio is unlocked once. The caller holds a reference."""
        h = int(self.head[pfn])
        wq = self._locked.get(h)
        if wq is not None:
            await wq.wait(lambda: self._locked.get(h) is not wq)

    # -- swap cache --------------------------------------------------------------------------------

    def add_to_swap_cache(self, pfn: int, slot: int) -> None:
        """The swap cache takes a reference on `pfn` and holds it for `slot`."""
        self.get_page(pfn)
        self.flags[pfn] |= PG_SWAPCACHE
        self.slot_of[pfn] = slot
        self.swap.cache[slot] = pfn

    def del_from_swap_cache(self, pfn: int) -> None:
        """Undo add_to_swap_cache; frees the slot when no entry names it, and drops the reference."""
        slot = self.slot_of.pop(pfn)
        del self.swap.cache[slot]
        self.flags[pfn] &= ~np.uint32(PG_SWAPCACHE)
        self.swap.put_unused(slot)
        self.put_page(pfn)

    def free_swap_of(self, pfn: int) -> bool:
        """Drop the swap copy when no entry needs it (folio_free_swap); True when it is out of the cache."""
        slot = self.slot_of.get(pfn)
        if slot is None:
            return True
        if self.swap.count[slot]:
            return False
        self.flags[pfn] |= PG_DIRTY
        self.del_from_swap_cache(pfn)
        return True

    # -- reverse map -------------------------------------------------------------------------------

    def add_rmap(self, pfn: int, mm: Any, addr: int) -> None:
        """A PTE of `mm` at `addr` now maps `pfn` (folio_add_*_rmap_pte); the caller gives the reference."""
        self.mapcount[pfn] += 1
        r = self.rmap.get(pfn)
        if r is None:
            self.rmap[pfn] = [(mm, addr)]
        else:
            r.append((mm, addr))

    def del_rmap(self, pfn: int, mm: Any, addr: int) -> None:
        """The PTE is gone (folio_remove_rmap_pte)."""
        r = self.rmap[pfn]
        r.remove((mm, addr))
        if not r:
            del self.rmap[pfn]
        self.mapcount[pfn] -= 1

    def add_rmap_pmd(self, head: int, mm: Any, addr: int) -> None:
        """A huge leaf of `mm` at `addr` now maps the folio."""
        self.mapcount[head : head + HPAGE_NR] += 1
        self.rmap_pmd.setdefault(head, []).append((mm, addr))

    def del_rmap_pmd(self, head: int, mm: Any, addr: int) -> None:
        """The huge leaf is gone."""
        r = self.rmap_pmd[head]
        r.remove((mm, addr))
        if not r:
            del self.rmap_pmd[head]
        self.mapcount[head : head + HPAGE_NR] -= 1

    def add_mig(self, pfn: int, mm: Any, addr: int) -> None:
        """A migration entry of `mm` at `addr` names `pfn`; it holds no reference."""
        self.rmap_mig.setdefault(pfn, []).append((mm, addr))

    def del_mig(self, pfn: int, mm: Any, addr: int) -> None:
        """The migration entry is gone."""
        r = self.rmap_mig[pfn]
        r.remove((mm, addr))
        if not r:
            del self.rmap_mig[pfn]

    # -- accounting --------------------------------------------------------------------------------

    def nr_used(self) -> int:
        """Frames in use, the zero page not counted."""
        return self.nframes - self.nr_free - 1

    def folios(self) -> NDArray[np.int64]:
        """Heads of all anonymous and page-cache folios, ascending (what the LRU lists hold)."""
        lru = (self.flags & (PG_ANON | PG_FILE) != 0) & (self.flags & (PG_ZONE_DEVICE | PG_HUGETLB) == 0)
        return np.flatnonzero(lru & (self.refcount > 0))

    def check_balance(self) -> list[str]:
        """What does not add up between reference counts, map counts, reverse maps and caches; [] is good.

        Call it when no thread is inside mm code: temporary references are reported as leaks.
        """
        bad = []
        for name, want in (("mapcount", self._mapcounts()),):
            for p in np.flatnonzero(self.mapcount != want):
                bad.append(f"pfn {p}: {name} {self.mapcount[p]}, page tables say {want[p]}")
        free = np.frombuffer(self._is_free, np.uint8).astype(bool)
        for p in np.flatnonzero(free & (self.refcount != 0)):
            bad.append(f"pfn {p}: free with refcount {self.refcount[p]}")
        if int(free.sum()) != self.nr_free:
            bad.append(f"nr_free {self.nr_free}, the map says {int(free.sum())}")
        for p in np.flatnonzero(self.refcount > 0):
            h = int(p)
            if self.flags[h] & PG_RESERVED:
                continue
            want_refs = self.expected_refs(h, HPAGE_NR if self.flags[h] & PG_HUGE else 1)
            if self.refcount[h] != want_refs:
                bad.append(f"pfn {h}: refcount {self.refcount[h]}, {want_refs} accounted for")
        if self._locked:
            bad.append(f"folios left locked: {sorted(self._locked)}")
        if self.rmap_mig:
            bad.append(f"migration entries left for pfns {sorted(self.rmap_mig)}")
        return bad

    def _mapcounts(self) -> NDArray[np.int32]:
        want = np.zeros_like(self.mapcount)
        for p, r in self.rmap.items():
            want[p] += len(r)
        for p, r in self.rmap_pmd.items():
            want[p : p + HPAGE_NR] += len(r)
        return want


def _chain(a: Callable, b: Callable) -> Callable:
    def both(*args: Any) -> None:
        a(*args)
        b(*args)

    return both
