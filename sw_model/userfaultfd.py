"""userfaultfd, missing mode: a process serves the page faults of a range itself (fs/userfaultfd.c).

    uffd = Userfaultfd(mm)
    await uffd.register(addr, length)
    while (at := await uffd.read()) is not None:     # a thread of its own
        await uffd.copy(at, data)

Anonymous memory only, one userfaultfd a process. Addresses are bytes; errors are raised as OSError(errno).
"""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING

from sw_model.pagetable import PAGE_SIZE, D
from sw_model.sched import WaitQueue
from sw_model.vma import VM_SHARED, VM_UFFD_MISSING

if TYPE_CHECKING:
    from sw_model.mm import MmStruct


class _Waiter:
    """struct userfaultfd_wait_queue: one thread that waits for the page at `addr`."""

    def __init__(self, addr: int) -> None:
        self.addr = addr
        self.woken = False


class Userfaultfd:
    """struct userfaultfd_ctx of one process. Raises OSError(EBUSY) when the process has one."""

    def __init__(self, mm: MmStruct) -> None:
        if mm.userfaultfd is not None:
            raise OSError(errno.EBUSY, "the process has a userfaultfd")
        self.mm = mm
        mm.userfaultfd = self
        self.released = False
        self._pending: deque[_Waiter] = deque()
        self._waiting: list[_Waiter] = []
        self._read_wq = WaitQueue("userfaultfd read")
        self._fault_wq = WaitQueue("userfaultfd fault")

    async def register(self, addr: int, length: int) -> None:
        """UFFDIO_REGISTER_MODE_MISSING. EINVAL: unaligned, a hole, or memory that is not anonymous."""
        mm, end = self.mm, addr + length
        if (addr | length) & (PAGE_SIZE - 1) or length <= 0:
            raise OSError(errno.EINVAL, "userfaultfd range")
        async with mm.mmap_lock.write():
            vmas = mm.vma_list.overlapping(addr, end)
            covered = sum(min(end, v.vm_end) - max(addr, v.vm_start) for v in vmas)
            if covered != length or any(not v.is_anon or v.vm_flags & VM_SHARED for v in vmas):
                raise OSError(errno.EINVAL, "userfaultfd range")
            for v in mm.vma_list.isolate(addr, end):
                v.vm_flags |= VM_UFFD_MISSING

    async def read(self) -> int | None:
        """The page address of the next fault; sleeps. None once the file is closed."""
        await self._read_wq.wait(lambda: self._pending or self.released)
        if not self._pending:
            return None
        waiter = self._pending.popleft()
        self._waiting.append(waiter)
        return waiter.addr

    async def copy(self, addr: int, data: bytes) -> None:
        """UFFDIO_COPY of whole pages, and wake who waits for them.

        EEXIST: a page is there already (the earlier ones were copied). ENOENT: not registered. ENOMEM.
        """
        from sw_model.fault import map_anon

        mm, phys = self.mm, self.mm.phys
        for off in range(0, len(data), PAGE_SIZE):
            at = addr + off
            pfn = await phys.alloc_page()
            if pfn < 0:
                raise OSError(errno.ENOMEM, f"UFFDIO_COPY at {at:#x}")
            phys.page_view(pfn)[:] = memoryview(data)[off : off + PAGE_SIZE]
            code = 0
            async with mm.mmap_lock.read():
                vma = mm.vma_lookup(at)
                table = mm.pt.pte_alloc(at) if vma is not None else None
                if vma is None or not vma.vm_flags & VM_UFFD_MISSING:
                    code = errno.ENOENT
                elif table is None:
                    code = errno.EEXIST
                else:
                    async with mm.page_table_lock:
                        i = (at >> 12) & 511
                        if table[i]:
                            code = errno.EEXIST
                        else:
                            map_anon(mm, vma, at, table, i, pfn, D)
            if code:
                phys.put_page(pfn)
                raise OSError(code, f"UFFDIO_COPY at {at:#x}")
        self.wake(addr, len(data))

    def wake(self, addr: int, length: int) -> None:
        """UFFDIO_WAKE: faults in [addr, addr + length) are taken again."""
        for queue in (self._waiting, self._pending):
            for w in [w for w in queue if addr <= w.addr < addr + length]:
                w.woken = True
                queue.remove(w)
        self._fault_wq.wake_all()

    async def close(self) -> None:
        """close(): the ranges are ordinary memory again, and every waiting fault is taken again."""
        mm = self.mm
        async with mm.mmap_lock.write():
            self.released = True
            mm.userfaultfd = None
            for v in mm.vma_list.all:
                v.vm_flags &= ~VM_UFFD_MISSING
        self._read_wq.wake_all()
        self._fault_wq.wake_all()

    async def wait(self, addr: int) -> None:
        """Queue a fault and sleep until it is resolved; mmap_lock has been dropped."""
        waiter = _Waiter(addr)
        self._pending.append(waiter)
        self._read_wq.wake_all()
        await self._fault_wq.wait(lambda: waiter.woken or self.released)


async def handle_userfault(mm: MmStruct, addr: int, allow_retry: bool) -> int:
    """handle_userfault(): VM_FAULT_RETRY with mmap_lock dropped, once the process has provided the page.

    VM_FAULT_SIGBUS where the caller cannot have the lock dropped.
    """
    from sw_model.fault import VM_FAULT_RETRY, VM_FAULT_SIGBUS

    ctx = mm.userfaultfd
    if not allow_retry or ctx is None:
        return VM_FAULT_SIGBUS
    mm.mmap_lock.up_read()
    await ctx.wait(addr)
    return VM_FAULT_RETRY
