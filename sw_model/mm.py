"""struct mm_struct: an address space, its life time, and what a CPU does with it (loads, stores, faults).

The system calls live in mm_ops and fork, the faults in fault; they are reachable as methods of MmStruct.
A CPU TLB is not modelled as a structure of its own: `generation` changes in the same atomic step as every
change of an accessible entry, so a caller's cached translations end no later than a TLB flush would end them.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from sw_model import fault, fork, madvise, mm_ops, mmu_notifier, mremap
from sw_model.fault import (  # noqa: F401
    VM_FAULT_ERROR,
    VM_FAULT_HWPOISON,
    VM_FAULT_MAJOR,
    VM_FAULT_OOM,
    VM_FAULT_RETRY,
    VM_FAULT_SIGBUS,
    VM_FAULT_SIGSEGV,
)
from sw_model.filemap import File, page_mkclean  # noqa: F401
from sw_model.ksm import merge_pages  # noqa: F401
from sw_model.locking import RwSem, SpinLock, kfree, warn_on
from sw_model.madvise import swap_out_range  # noqa: F401
from sw_model.migrate import migrate_page, migrate_range  # noqa: F401
from sw_model.mm_ops import change_prot_numa  # noqa: F401
from sw_model.mm_refs import MmRefs
from sw_model.pagetable import (  # noqa: F401
    DEVICE,
    DEVX,
    HPAGE,
    MIG,
    PAGE_SIZE,
    PS,
    TASK_SIZE,
    A,
    D,
    P,
    PageTable,
    Pte,
    PteKind,
    W,
)
from sw_model.phys import PG_ZONE_DEVICE, PhysMem
from sw_model.reclaim import reclaim_pages, swap_out  # noqa: F401
from sw_model.sched import WaitQueue, point
from sw_model.thp import collapse_huge_page, split_folio, split_huge_pmd  # noqa: F401
from sw_model.vma import *  # noqa: F403
from sw_model.vma import VM_ACCESS, VM_UFFD_MISSING, VM_WRITE, Vma, VmaList

if TYPE_CHECKING:
    from collections.abc import Awaitable


class SegvError(OSError):
    """SIGSEGV: errno EFAULT; `addr` is the faulting address, si_addr."""

    def __init__(self, addr: int, text: str = "SIGSEGV") -> None:
        super().__init__(errno.EFAULT, f"{text} at {addr:#x}")
        self.addr = addr


class SigbusError(SegvError):
    """SIGBUS: as SegvError, for a page that cannot be provided (beyond the end of a file)."""

    def __init__(self, addr: int) -> None:
        super().__init__(addr, "SIGBUS")


class MmStruct(MmRefs):
    """One address space.

    `thp`: transparent huge pages without being asked (enabled=always); else only in MADV_HUGEPAGE areas.
    """

    _next_id = 1

    def __init__(self, phys: PhysMem, name: str = "mm", thp: bool = False) -> None:
        super().__init__()
        self.phys = phys
        self.name = name
        self.thp = thp
        self.mm_id = MmStruct._next_id
        MmStruct._next_id += 1
        self.mmap_lock = RwSem(f"{name}.mmap_lock")
        self.page_table_lock = SpinLock(f"{name}.ptl")
        self.pt = PageTable()
        self.vma_list = VmaList()
        self.generation = 0
        self.mmap_base = 0x7FFF_F7FF_F000
        self.start_brk = self.brk_end = 0
        self.rmap_walkers = 0
        self._rmap_wq = WaitQueue(f"{name}.rmap")
        self.notifier_subscriptions: Any = None
        self.hmm: Any = None
        self.userfaultfd: Any = None
        if phys.on_mm_create is not None:
            phys.on_mm_create(self)

    def __repr__(self) -> str:
        return f"<mm {self.name} users={self.mm_users} count={self.mm_count}>"

    # -- life time ---------------------------------------------------------------------------------

    async def exit_mmap(self) -> None:
        """exit_mmap(): release to the notifiers, then every mapping goes."""
        await fork.exit_mmap(self)

    def free_mm(self) -> None:
        """__mmdrop(): any use from here on is one after free. KernelBug when page tables or VMAs are left."""
        mmu_notifier.mmu_notifier_subscriptions_destroy(self)
        warn_on(self.pt.nr_tables or self.vma_list.all, f"{self.name} freed with page tables or VMAs")
        if self.phys.on_mm_free is not None:
            self.phys.on_mm_free(self)
        kfree(self)

    async def exit(self) -> None:
        """The process drops its address space (exit_mm)."""
        await self.mmput()

    def rmap_get(self) -> None:
        """A reverse-map walk enters this mm: its VMAs are not freed meanwhile (anon_vma / i_mmap lock)."""
        self.rmap_walkers += 1

    def rmap_put(self) -> None:
        """The walk has left."""
        self.rmap_walkers -= 1
        self._rmap_wq.wake_all()

    async def wait_no_rmap(self) -> None:
        """Sleep until no reverse-map walk is inside (unlink_anon_vmas taking the lock)."""
        if self.rmap_walkers:
            await self._rmap_wq.wait(lambda: not self.rmap_walkers)

    # -- walkers -----------------------------------------------------------------------------------

    @property
    def vmas(self) -> list[Vma]:
        """All VMAs in address order; mmap_lock held."""
        return self.vma_list.all

    def find_vma(self, addr: int) -> Vma | None:
        """find_vma(): the first VMA that ends above `addr`; it may start above it too. mmap_lock held."""
        return self.vma_list.find(addr)

    def vma_lookup(self, addr: int) -> Vma | None:
        """vma_lookup(): the VMA that contains `addr`. mmap_lock held."""
        return self.vma_list.lookup(addr)

    def pte(self, addr: int) -> Pte:
        """The decoded entry of the page at `addr`; stable only while page_table_lock is held."""
        p = self.pt.lookup(addr)
        if p.kind is PteKind.DEVICE_PRIVATE:
            p = p._replace(owner=self.phys.pgmap(p.pfn).owner)
        return p

    def translate_fast(self, addr: int, write: bool) -> int:
        """The CPU's page walk: the pfn of `addr`, or -1 for a page fault. Sets young and dirty.

        The result may be cached per (page, write) until `generation` changes.
        """
        pud = self.pt.pgd[addr >> 39]
        if not pud:
            return -1
        pmd = pud[(addr >> 30) & 511]
        if not pmd:
            return -1
        t = pmd[(addr >> 21) & 511]
        if type(t) is list:
            i = (addr >> 12) & 511
            e = t[i]
            if not e & P:
                return -1
            if write:
                if not e & W:
                    return -1
                t[i] = e | A | D
            elif not e & A:
                t[i] = e | A
            return e >> 12
        if not t & P or (write and not t & W):
            return -1
        pmd[(addr >> 21) & 511] = t | (A | D if write else A)
        return (t >> 12) + ((addr >> 12) & 511)

    # -- entries -----------------------------------------------------------------------------------

    def set_pte(self, table: list, i: int, addr: int, new: int) -> None:
        """Store a PTE, end cached CPU translations of it, tell the observers. page_table_lock held.

        Models set_pte_at, and ptep_clear_flush when an accessible entry goes away or is reduced.
        """
        old = table[i]
        table[i] = new
        if old & P:
            self.generation += 1
        if new & P:
            if (old ^ new) & ~(A | D) and self.phys.on_pte_set is not None:
                self.phys.on_pte_set(self, addr & -PAGE_SIZE, new >> 12, 1, bool(new & W))
        elif old & P and self.phys.on_pte_clear is not None:
            self.phys.on_pte_clear(self, addr & -PAGE_SIZE, 1)
        if (old | new) & (DEVICE | MIG):
            self.device_entry(addr & -PAGE_SIZE, new, 1)

    def device_entry(self, addr: int, new: int, nr: int) -> None:
        """Tell the observers which frames a device may use through an entry that the CPU cannot use.

        on_device_pte(mm, addr, frame, nr, writable), frame -1 when it ends. A device page keeps its owner's
        translations while it has a migration entry: the owner revokes them before it copies. While a page
        moves to a device, migrate_vma_pages() says where the driver may map it.
        """
        if self.phys.on_device_pte is not None and not new & P:
            frame = self._device_frame(new)
            if frame >= 0 or not new & MIG:
                self.phys.on_device_pte(self, addr, frame, nr, bool(new & (W | DEVX)))

    def _device_frame(self, e: int) -> int:
        if e & P or not e & (DEVICE | MIG):
            return -1
        pfn = e >> 12
        if self.phys.flags[self.phys.head[pfn]] & PG_ZONE_DEVICE:
            return self.phys.pgmap(pfn).backing(pfn)
        return pfn if e & DEVX else -1

    def set_huge(self, addr: int, new: int | list) -> None:
        """Store a PMD entry where a huge leaf was or will be; as set_pte. page_table_lock held."""
        old = self.pt.pmd_entry(addr)
        self.pt.set_pmd(addr, new)
        was = type(old) is int and old & P
        if was:
            self.generation += 1
        if type(new) is int and new & P:
            if (not was or (old ^ new) & ~(A | D)) and self.phys.on_pte_set is not None:
                self.phys.on_pte_set(self, addr & -HPAGE, new >> 12, HPAGE // PAGE_SIZE, bool(new & W))
        elif was and self.phys.on_pte_clear is not None:
            self.phys.on_pte_clear(self, addr & -HPAGE, HPAGE // PAGE_SIZE)
        first = new if type(new) is int else new[0]  # of 512 entries of one folio
        if (first | (old if type(old) is int else 0)) & (DEVICE | MIG):
            self.device_entry(addr & -HPAGE, first, HPAGE // PAGE_SIZE)

    # -- the CPU -----------------------------------------------------------------------------------

    async def fault_in(self, addr: int, write: bool) -> None:
        """A page fault of the CPU at `addr` (do_user_addr_fault). The caller walks again afterwards.

        Raises SegvError, SigbusError (both OSError(EFAULT) with `.addr`), OSError(ENOMEM).
        """
        await self.mmap_lock.down_read()
        ret = 0
        try:
            vma = self.vma_list.lookup(addr)
            if vma is None or not vma.vm_flags & (VM_WRITE if write else VM_ACCESS):
                raise SegvError(addr)
            ret = await fault.handle_mm_fault(self, vma, addr, write, bool(vma.vm_flags & VM_UFFD_MISSING))
        finally:
            if not ret & VM_FAULT_RETRY:
                self.mmap_lock.up_read()
        if ret & VM_FAULT_ERROR:
            if ret & VM_FAULT_OOM:
                raise OSError(errno.ENOMEM, f"out of memory at {addr:#x}")
            if ret & VM_FAULT_SIGBUS:
                raise SigbusError(addr)
            raise SegvError(addr)

    async def load(self, addr: int, n: int) -> bytes:
        """`n` bytes at `addr` as the CPU loads them; the bytes of one page are read at one moment.

        Raises SegvError, SigbusError (OSError EFAULT), OSError(ENOMEM).
        """
        await point("cpu", self)
        out = []
        end = addr + n
        while addr < end:
            pfn = self.translate_fast(addr, False) if 0 <= addr < TASK_SIZE else -1
            while pfn < 0:
                await self.fault_in(addr, False)
                pfn = self.translate_fast(addr, False)
            k = min(end - addr, PAGE_SIZE - (addr & 4095))
            at = (pfn << 12) | (addr & 4095)
            out.append(bytes(self.phys.mv[at : at + k]))
            addr += k
        return b"".join(out)

    async def store(self, addr: int, data: bytes) -> None:
        """Store `data` at `addr` as the CPU does; the bytes of one page are written at one moment.

        Raises SegvError, SigbusError (OSError EFAULT), OSError(ENOMEM).
        """
        await point("cpu", self)
        off, n = 0, len(data)
        while off < n:
            a = addr + off
            pfn = self.translate_fast(a, True) if 0 <= a < TASK_SIZE else -1
            while pfn < 0:
                await self.fault_in(a, True)
                pfn = self.translate_fast(a, True)
            k = min(n - off, PAGE_SIZE - (a & 4095))
            at = (pfn << 12) | (a & 4095)
            self.phys.mv[at : at + k] = data[off : off + k]
            off += k

    # -- system calls and faults -------------------------------------------------------------------

    def set_brk(self, start: int) -> None:
        """Where the heap begins (mm->start_brk), page aligned; once, before brk()."""
        self.start_brk = self.brk_end = start

    handle_mm_fault = fault.handle_mm_fault
    migration_entry_wait = fault.migration_entry_wait
    mmap = mm_ops.mmap
    munmap = mm_ops.munmap
    mprotect = mm_ops.mprotect
    brk = mm_ops.brk
    mremap = mremap.mremap
    swap_out_range = madvise.swap_out_range
    msync = madvise.msync
    madvise = madvise.madvise
    fork = fork.fork


async def mmget(mm: MmStruct) -> None:
    """mm.mmget()."""
    await mm.mmget()


def mmget_not_zero(mm: MmStruct) -> Awaitable[bool]:
    """mm.mmget_not_zero()."""
    return mm.mmget_not_zero()


async def mmput(mm: MmStruct) -> None:
    """mm.mmput()."""
    await mm.mmput()


async def mmgrab(mm: MmStruct) -> None:
    """mm.mmgrab()."""
    await mm.mmgrab()


async def mmdrop(mm: MmStruct) -> None:
    """mm.mmdrop()."""
    await mm.mmdrop()
