"""The CPU page table of a process: four levels of 512 entries, 4-KiB pages and 2-MiB leaves.

An entry is an int: flag bits below bit 12 and, above them, the pfn (present, migration) or the swap slot.
An upper entry is 0 or the list of the next level; a level-2 (PMD) entry may also be a huge leaf. Nothing
here switches threads: a single load or store of an entry is atomic, as on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
PAGE_MASK = ~(PAGE_SIZE - 1)
PMD_SHIFT = 21
HPAGE = 1 << PMD_SHIFT
HPAGE_MASK = ~(HPAGE - 1)
HPAGE_NR = HPAGE // PAGE_SIZE
TASK_SIZE = 0x7FFF_FFFF_F000

P, W, A, D = 0x1, 0x2, 0x4, 0x8  # present, writable, young (accessed), dirty
PN = 0x10  # PROT_NONE or NUMA hint: has a page, not accessible (_PAGE_PROTNONE)
ZERO = 0x20  # the zero page: special, never counted
PS = 0x40  # a 2-MiB leaf
SWAP = 0x80
MIG = 0x100  # migration entry; W tells a writable one
EXCL = 0x200  # in swap and migration entries: the anonymous page was exclusive
DEVP = 0x400  # a device-private page, counted and reverse-mapped; W tells a writable one
DEVX = 0x800  # a page that a device has exclusively, counted and reverse-mapped
HWPOISON = 0x40  # below a PMD, where PS has no meaning: the page is broken
HAS_PAGE = P | PN
DEVICE = DEVP | DEVX


class PteKind(IntEnum):
    """What an entry is. MARKER (uffd-wp) and BAD (pmd_bad) are never produced by this model."""

    NONE = 0
    PRESENT = 1
    ZERO = 2
    PROTNONE = 3
    SWAP = 4
    MIGRATION = 5
    DEVICE_PRIVATE = 6
    DEVICE_EXCLUSIVE = 7
    HWPOISON = 8
    MARKER = 9
    BAD = 10


class Pte(NamedTuple):
    """The mapping of one 4-KiB page: `pfn` is of that page (-1 without one), `base` of its leaf.

    `owner`: whose device-private page it is (dev_pagemap.owner).
    """

    kind: PteKind
    pfn: int
    writable: bool
    dirty: bool
    young: bool
    order: int
    base: int
    owner: object = None


def pte_kind(e: int) -> PteKind:
    """Classify a raw entry."""
    if not e:
        return PteKind.NONE
    if e & P:
        return PteKind.ZERO if e & ZERO else PteKind.PRESENT
    if e & PN:
        return PteKind.PROTNONE
    if e & DEVICE:
        return PteKind.DEVICE_PRIVATE if e & DEVP else PteKind.DEVICE_EXCLUSIVE
    if e & HWPOISON:
        return PteKind.HWPOISON
    return PteKind.MIGRATION if e & MIG else PteKind.SWAP


class PageTable:
    """pgd -> p4d/pud -> pmd -> pte. `nr_tables` counts lower-level tables (mm_pgtables_bytes)."""

    def __init__(self) -> None:
        self.pgd: list = [0] * 512
        self.nr_tables = 0

    def pmd(self, addr: int) -> list | None:
        """The PMD table that covers `addr`, or None."""
        pud = self.pgd[addr >> 39]
        return (pud[(addr >> 30) & 511] or None) if pud else None

    def pmd_alloc(self, addr: int) -> list:
        """The PMD table that covers `addr`, made when missing (pmd_alloc)."""
        pud = self.pgd[addr >> 39]
        if not pud:
            pud = self.pgd[addr >> 39] = [0] * 512
            self.nr_tables += 1
        pmd = pud[(addr >> 30) & 511]
        if not pmd:
            pmd = pud[(addr >> 30) & 511] = [0] * 512
            self.nr_tables += 1
        return pmd

    def pmd_entry(self, addr: int) -> int | list:
        """The PMD entry of `addr`: 0, a huge leaf, or a PTE table."""
        pud = self.pgd[addr >> 39]
        if not pud:
            return 0
        pmd = pud[(addr >> 30) & 511]
        return pmd[(addr >> 21) & 511] if pmd else 0

    def pte_table(self, addr: int) -> list | None:
        """The PTE table that covers `addr`, or None (also for a huge leaf)."""
        e = self.pmd_entry(addr)
        return e if type(e) is list else None

    def pte_alloc(self, addr: int) -> list | None:
        """The PTE table that covers `addr`, made when missing; None under a huge leaf (pte_alloc)."""
        pmd = self.pmd_alloc(addr)
        i = (addr >> 21) & 511
        e = pmd[i]
        if e == 0:
            e = pmd[i] = [0] * 512
            self.nr_tables += 1
        return e if type(e) is list else None

    def set_pmd(self, addr: int, value: int | list) -> None:
        """Store the PMD entry of `addr`; keeps the count of tables."""
        pmd = self.pmd_alloc(addr)
        i = (addr >> 21) & 511
        self.nr_tables += (type(value) is list) - (type(pmd[i]) is list)
        pmd[i] = value

    def entry(self, addr: int) -> int:
        """The raw leaf entry of `addr`: a PTE, or the huge leaf that covers it."""
        e = self.pmd_entry(addr)
        return e[(addr >> 12) & 511] if type(e) is list else e

    def lookup(self, addr: int) -> Pte:
        """Decode the mapping of the page at `addr`."""
        e = self.pmd_entry(addr)
        if type(e) is list:
            e, order, base = e[(addr >> 12) & 511], 0, addr & PAGE_MASK
            sub = 0
        else:
            order, base = (9, addr & HPAGE_MASK) if e else (0, addr & PAGE_MASK)
            sub = (addr >> 12) & 511
        kind = pte_kind(e)
        if e & HAS_PAGE:
            return Pte(kind, (e >> 12) + sub, bool(e & W), bool(e & D), bool(e & A), order, base)
        if e & DEVICE:
            return Pte(kind, (e >> 12) + sub, bool(e & W), False, False, order, base)
        return Pte(kind, -1, False, False, False, order, base)

    def leaves(self, start: int, end: int) -> Iterator[tuple[int, int | list]]:
        """(address, PMD entry) of every populated 2-MiB slot that overlaps [start, end), in order."""
        addr = start
        while addr < end:
            pud = self.pgd[addr >> 39]
            if not pud:
                addr = ((addr >> 39) + 1) << 39
                continue
            pmd = pud[(addr >> 30) & 511]
            if not pmd:
                addr = ((addr >> 30) + 1) << 30
                continue
            e = pmd[(addr >> 21) & 511]
            if e:
                yield addr, e
            addr = ((addr >> 21) + 1) << 21

    def free_tables(self, floor: int, ceiling: int) -> None:
        """Free every table whose whole span lies in [floor, ceiling) (free_pgtables).

        Raises AssertionError when such a table still maps something.
        """
        for shift in (21, 30, 39):
            span = 1 << shift
            addr = (floor + span - 1) & -span
            while addr < ceiling and addr < 1 << 47:
                pud = self.pgd[addr >> 39]
                if not pud:
                    addr = ((addr >> 39) + 1) << 39
                    continue
                if addr + span > ceiling:
                    break
                if shift == 39:
                    assert not any(pud), f"pud table at {addr:#x} freed while in use"
                    self.pgd[addr >> 39] = 0
                    self.nr_tables -= 1
                    addr += span
                    continue
                pmd = pud[(addr >> 30) & 511]
                if not pmd:
                    addr = ((addr >> 30) + 1) << 30
                    continue
                if shift == 30:
                    assert not any(pmd), f"pmd table at {addr:#x} freed while in use"
                    pud[(addr >> 30) & 511] = 0
                    self.nr_tables -= 1
                else:
                    e = pmd[(addr >> 21) & 511]
                    if e:
                        assert type(e) is list and not any(e), f"pte table at {addr:#x} freed while in use"
                        pmd[(addr >> 21) & 511] = 0
                        self.nr_tables -= 1
                addr += span
