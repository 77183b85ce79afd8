"""Virtual memory areas of a process: a sorted list with find, split and merge, and the constants of mmap."""

from __future__ import annotations

import errno
from bisect import bisect_right
from typing import TYPE_CHECKING

from sw_model.pagetable import HPAGE, PAGE_SHIFT

if TYPE_CHECKING:
    from sw_model.filemap import File
    from sw_model.mm import MmStruct

PROT_NONE, PROT_READ, PROT_WRITE, PROT_EXEC = 0, 1, 2, 4
MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS = 0x1, 0x2, 0x10, 0x20
MAP_POPULATE, MAP_HUGETLB, MAP_FIXED_NOREPLACE = 0x8000, 0x40000, 0x100000
MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP = 1, 2, 4
MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED, MADV_FREE = 0, 1, 2, 3, 4, 8
MADV_DONTFORK, MADV_DOFORK, MADV_HUGEPAGE, MADV_NOHUGEPAGE = 10, 11, 14, 15
MADV_COLD, MADV_PAGEOUT, MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_COLLAPSE = 20, 21, 22, 23, 25

VM_READ, VM_WRITE, VM_EXEC, VM_SHARED = 0x1, 0x2, 0x4, 0x8
VM_MAYREAD, VM_MAYWRITE, VM_MAYEXEC, VM_MAYSHARE = 0x10, 0x20, 0x40, 0x80
VM_UFFD_MISSING = 0x200
VM_PFNMAP, VM_IO, VM_DONTCOPY, VM_HUGETLB, VM_MIXEDMAP = 0x400, 0x4000, 0x20000, 0x400000, 0x10000000
VM_HUGEPAGE, VM_NOHUGEPAGE = 0x20000000, 0x40000000
VM_ACCESS = VM_READ | VM_WRITE | VM_EXEC
VM_SPECIAL = VM_PFNMAP | VM_IO | VM_MIXEDMAP


class Vma:
    """struct vm_area_struct: [vm_start, vm_end) in bytes; `vm_pgoff` in pages of `vm_file`."""

    __slots__ = ("anon_vma", "vm_end", "vm_file", "vm_flags", "vm_mm", "vm_pgoff", "vm_start")

    def __init__(self, mm: MmStruct, start: int, end: int, flags: int, file: File | None, pgoff: int) -> None:
        self.vm_mm = mm
        self.vm_start, self.vm_end = start, end
        self.vm_flags = flags
        self.vm_file, self.vm_pgoff = file, pgoff
        self.anon_vma = False  # true once it holds anonymous pages

    def __repr__(self) -> str:
        f = self.vm_flags
        p = "".join(c if f & 1 << k else "-" for k, c in enumerate("rwxs"))
        return f"<Vma {self.vm_start:#x}-{self.vm_end:#x} {p}>"

    @property
    def is_cow(self) -> bool:
        """A private mapping that may become writable (is_cow_mapping)."""
        return self.vm_flags & (VM_SHARED | VM_MAYWRITE) == VM_MAYWRITE

    @property
    def is_anon(self) -> bool:
        """No file behind it (vma_is_anonymous): private anonymous memory."""
        return self.vm_file is None

    def pgoff(self, addr: int) -> int:
        """Page index in the file of `addr` (linear_page_index)."""
        return self.vm_pgoff + ((addr - self.vm_start) >> PAGE_SHIFT)


class VmaList:
    """The VMAs of one mm in address order. Changed only with mmap_lock held for writing."""

    def __init__(self) -> None:
        self.all: list[Vma] = []
        self._ends: list[int] = []

    def find(self, addr: int) -> Vma | None:
        """The first VMA that ends above `addr` (find_vma)."""
        i = bisect_right(self._ends, addr)
        return self.all[i] if i < len(self.all) else None

    def lookup(self, addr: int) -> Vma | None:
        """The VMA that contains `addr` (vma_lookup)."""
        i = bisect_right(self._ends, addr)
        if i < len(self.all):
            v = self.all[i]
            if v.vm_start <= addr:
                return v
        return None

    def overlapping(self, start: int, end: int) -> list[Vma]:
        """All VMAs with a byte in [start, end)."""
        i = bisect_right(self._ends, start)
        out = []
        while i < len(self.all) and self.all[i].vm_start < end:
            out.append(self.all[i])
            i += 1
        return out

    def neighbours(self, start: int, end: int) -> tuple[int, int]:
        """End of the last VMA at or below `start`, start of the first at or above `end` (floor, ceiling)."""
        i = bisect_right(self._ends, start)
        floor = self.all[i - 1].vm_end if i else 0
        while i < len(self.all) and self.all[i].vm_start < end:
            i += 1
        return floor, self.all[i].vm_start if i < len(self.all) else 1 << 47

    def insert(self, vma: Vma) -> None:
        """Add a VMA that overlaps none."""
        i = bisect_right(self._ends, vma.vm_start)
        assert i == len(self.all) or self.all[i].vm_start >= vma.vm_end, f"{vma} overlaps {self.all[i]}"
        self.all.insert(i, vma)
        self._ends.insert(i, vma.vm_end)
        if vma.vm_file is not None:
            vma.vm_file.vmas.append(vma)

    def remove(self, vma: Vma) -> None:
        """Take a VMA out; its file reference stays with the caller."""
        i = self.all.index(vma)
        del self.all[i], self._ends[i]
        if vma.vm_file is not None:
            vma.vm_file.vmas.remove(vma)

    def resize(self, vma: Vma, end: int) -> None:
        """Move the end of a VMA."""
        self._ends[self.all.index(vma)] = vma.vm_end = end

    def split(self, vma: Vma, addr: int) -> Vma:
        """Cut a VMA at `addr`; the upper part is new and returned (__split_vma)."""
        new = Vma(vma.vm_mm, addr, vma.vm_end, vma.vm_flags, vma.vm_file, vma.pgoff(addr))
        new.anon_vma = vma.anon_vma
        if vma.vm_file is not None:
            vma.vm_file.get()
        self.resize(vma, addr)
        self.insert(new)
        return new

    def isolate(self, start: int, end: int) -> list[Vma]:
        """Split at both ends; the VMAs that now tile what is mapped of [start, end).

        Raises OSError(EINVAL), before anything is split, where that would cut a 2-MiB hugetlb page.
        """
        cut = [(at, v) for at in (start, end) if (v := self.lookup(at)) is not None and v.vm_start < at]
        if any(v.vm_flags & VM_HUGETLB and at & (HPAGE - 1) for at, v in cut):
            raise OSError(errno.EINVAL, "a hugetlb page cannot be split")
        for at in (start, end):
            v = self.lookup(at)
            if v is not None and v.vm_start < at:
                self.split(v, at)
        return self.overlapping(start, end)

    def merge_around(self, start: int, end: int) -> list[File]:
        """Join compatible neighbours in and around [start, end) (vma_merge).

        Returns the file references that became superfluous, for the caller to put.
        """
        i = max(bisect_right(self._ends, start) - 1, 0)
        files = []
        while i + 1 < len(self.all) and self.all[i].vm_start <= end:
            a, b = self.all[i], self.all[i + 1]
            if (
                a.vm_end == b.vm_start
                and a.vm_flags == b.vm_flags
                and a.vm_file is b.vm_file
                and (a.vm_file is None or a.pgoff(a.vm_end) == b.vm_pgoff)
            ):
                self.remove(b)
                self.resize(a, b.vm_end)
                a.anon_vma |= b.anon_vma
                if b.vm_file is not None:
                    files.append(b.vm_file)
            else:
                i += 1
        return files
