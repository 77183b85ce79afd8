"""Files with a page cache: regular files (write faults track dirty pages) and shared memory (shmem)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from sw_model.mmu_notifier import (
    MmuNotifierRange,
    MmuNotifyEvent,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from sw_model.pagetable import MIG, PAGE_SHIFT, PAGE_SIZE, D, P, W
from sw_model.phys import PG_DIRTY, PG_FILE, PhysMem
from sw_model.sched import point

if TYPE_CHECKING:
    from sw_model.vma import Vma


class File:
    """struct file and its address_space. `pages`: page index -> pfn, each with one reference.

    `disk` is the backing store (for shmem: its swap). `size` in bytes. The file starts with one reference.
    """

    def __init__(
        self,
        phys: PhysMem,
        data: bytes = b"",
        size: int | None = None,
        name: str = "file",
        shmem: bool = False,
    ) -> None:
        self.phys = phys
        self.name = name
        self.shmem = shmem
        self.disk = bytearray(data)
        self.size = len(data) if size is None else size
        self.pages: dict[int, int] = {}
        self.vmas: list[Vma] = []
        self.refs = 1

    def get(self) -> None:
        """One more reference (get_file)."""
        assert self.refs > 0, f"get of closed {self.name}"
        self.refs += 1

    async def put(self) -> None:
        """Drop a reference (fput); the last one evicts the page cache, after writing it back."""
        await point("ref", self)
        assert self.refs > 0, f"put of closed {self.name}"
        self.refs -= 1
        if self.refs == 0:
            assert not self.vmas
            if not self.shmem:
                await self.writeback()
            await self._drop_pages(0)

    @property
    def nr_pages(self) -> int:
        """Pages up to the end of the file; a fault beyond is SIGBUS."""
        return (self.size + PAGE_SIZE - 1) >> PAGE_SHIFT

    async def get_page(self, index: int) -> int:
        """The page-cache page, read in when missing, with a reference for the caller (filemap_get_folio).

        -1 when memory is short.
        """
        phys = self.phys
        await point("pagecache", self)
        pfn = self.pages.get(index, -1)
        if pfn < 0:
            new = await phys.alloc_page()
            pfn = self.pages.get(index, -1)
            if pfn < 0:
                if new < 0:
                    return -1
                chunk = self.disk[index << PAGE_SHIFT : (index + 1) << PAGE_SHIFT]
                view = phys.page_view(new)
                view[: len(chunk)] = memoryview(chunk)
                view[len(chunk) :] = 0
                phys.flags[new] = PG_FILE
                phys.mapping[new] = (self, index)
                self.pages[index] = pfn = new
            elif new >= 0:
                phys.put_page(new)
        phys.get_page(pfn)
        return pfn

    async def get_locked(self, index: int) -> int:
        """As get_page, and with the folio lock held and the page still part of the file.

        -1 when memory is short, -2 beyond the end of the file (VM_FAULT_SIGBUS). Models filemap_fault.
        """
        while True:
            if index >= self.nr_pages:
                return -2
            pfn = await self.get_page(index)
            if pfn < 0:
                return -1
            await self.phys.lock_page(pfn)
            if self.phys.mapping.get(pfn) == (self, index) and index < self.nr_pages:
                return pfn
            self.phys.unlock_page(pfn)
            self.phys.put_page(pfn)

    async def read(self, off: int, n: int) -> bytes:
        """pread(): up to `n` bytes at `off`, fewer at the end of the file. Raises OSError(ENOMEM)."""
        out = b""
        end = min(off + n, self.size)
        while off < end:
            pfn = await self._page(off >> PAGE_SHIFT)
            k = min(end - off, PAGE_SIZE - (off & 4095))
            at = (pfn << PAGE_SHIFT) + (off & 4095)
            out += bytes(self.phys.mv[at : at + k])
            self.phys.put_page(pfn)
            off += k
        return out

    async def write(self, off: int, data: bytes) -> int:
        """pwrite(): bytes written, the file grows; seen by every shared mapping. Raises OSError(ENOMEM)."""
        done = 0
        while done < len(data):
            at = off + done
            k = min(len(data) - done, PAGE_SIZE - (at & 4095))
            self.size = max(self.size, at + k)
            pfn = await self._page(at >> PAGE_SHIFT)
            b = (pfn << PAGE_SHIFT) + (at & 4095)
            self.phys.mv[b : b + k] = data[done : done + k]
            self.phys.flags[pfn] |= PG_DIRTY
            self.phys.put_page(pfn)
            done += k
        return done

    async def _page(self, index: int) -> int:
        pfn = await self.get_page(index)
        if pfn < 0:
            raise OSError(errno.ENOMEM, self.name)
        return pfn

    def store_page(self, index: int, pfn: int) -> None:
        """Copy a page to the backing store (the I/O of writepage)."""
        at = index << PAGE_SHIFT
        if len(self.disk) < at + PAGE_SIZE:
            self.disk.extend(bytes(at + PAGE_SIZE - len(self.disk)))
        self.disk[at : at + PAGE_SIZE] = self.phys.page_view(pfn).tobytes()

    async def writeback(self) -> int:
        """Write dirty pages, write-protecting their PTEs first (folio_clear_dirty_for_io); pages written."""
        n = 0
        for index, pfn in sorted(self.pages.items()):
            # A page is marked dirty before a PTE of it becomes writable (page_mkwrite).
            if self.pages.get(index) != pfn or not self.phys.flags[pfn] & PG_DIRTY:
                continue
            self.phys.get_page(pfn)
            await self.phys.lock_page(pfn)
            if self.phys.mapping.get(pfn) == (self, index):
                dirty = await page_mkclean(self.phys, pfn)
                if dirty or self.phys.flags[pfn] & PG_DIRTY:
                    self.phys.flags[pfn] &= ~PG_DIRTY & 0xFFFFFFFF
                    await point("io", self)
                    self.store_page(index, pfn)
                    n += 1
            self.phys.unlock_page(pfn)
            self.phys.put_page(pfn)
        return n

    async def truncate(self, size: int) -> None:
        """ftruncate(): set the size, unmap what lies beyond from every process, drop those pages."""
        from sw_model.mm_ops import zap_page_range_single

        old = self.size
        self.size = size
        if size >= old:
            return
        first = self.nr_pages
        for _ in range(2):  # again after the page cache is cut: truncate_pagecache
            for vma in list(self.vmas):
                lo = max(vma.vm_start, vma.vm_start + ((first - vma.vm_pgoff) << PAGE_SHIFT))
                if lo < vma.vm_end and vma in self.vmas:
                    await zap_page_range_single(vma, lo, vma.vm_end)
            await self._drop_pages(first)
        if size & 4095 and first - 1 in self.pages:
            self.phys.page_view(self.pages[first - 1])[size & 4095 :] = 0
        del self.disk[size:]

    async def _drop_pages(self, first: int) -> None:
        from sw_model.reclaim import try_to_unmap

        phys = self.phys
        for index in sorted(i for i in self.pages if i >= first):
            pfn = self.pages.get(index, -1)
            if pfn < 0:
                continue
            phys.get_page(pfn)
            await phys.lock_page(pfn)
            if phys.mapping.get(pfn) == (self, index):
                await try_to_unmap(phys, pfn)
                self.remove_page(index, pfn)
            phys.unlock_page(pfn)
            phys.put_page(pfn)

    def remove_page(self, index: int, pfn: int) -> None:
        """The page leaves the page cache, which drops its reference (filemap_remove_folio). Folio locked."""
        del self.pages[index]
        del self.phys.mapping[pfn]
        self.phys.flags[pfn] &= ~PG_DIRTY & 0xFFFFFFFF
        self.phys.put_page(pfn)


async def page_mkclean(phys: PhysMem, pfn: int) -> int:
    """Write-protect and clean every PTE of a shared file page; how many were dirty (folio_mkclean).

    Sends PROTECTION_PAGE for each PTE. The folio is locked.
    """
    n = 0
    for mm, addr in list(phys.rmap.get(pfn, ())):
        r = MmuNotifierRange(mm, addr, addr + PAGE_SIZE, MmuNotifyEvent.PROTECTION_PAGE)
        await mmu_notifier_invalidate_range_start(r)
        async with mm.page_table_lock:
            t = mm.pt.pte_table(addr)
            if t is not None:
                i = (addr >> 12) & 511
                e = t[i]
                if e & P and e >> 12 == pfn and e & (W | D) and not e & MIG:
                    await point("pte", mm)
                    e = t[i]
                    n += bool(e & D)
                    mm.set_pte(t, i, addr, e & ~(W | D))
                    if e & D:
                        phys.flags[pfn] |= PG_DIRTY
        await mmu_notifier_invalidate_range_end(r)
    return n
