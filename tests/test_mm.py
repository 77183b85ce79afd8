"""The model of Linux memory management: data, errors, counts and the order of invalidations."""

from __future__ import annotations

import errno
from collections.abc import Awaitable

import pytest

from sw_model import ksm, migrate, mm_ops, reclaim, thp
from sw_model.locking import is_freed
from sw_model.mm import (
    MADV_DONTFORK,
    MADV_DONTNEED,
    MADV_FREE,
    MADV_HUGEPAGE,
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_FIXED_NOREPLACE,
    MAP_PRIVATE,
    MAP_SHARED,
    MREMAP_DONTUNMAP,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    PROT_NONE,
    PROT_READ,
    VM_FAULT_OOM,
    VM_FAULT_RETRY,
    VM_FAULT_SIGBUS,
    VM_FAULT_SIGSEGV,
    File,
    MmStruct,
    PteKind,
    SegvError,
    SigbusError,
)
from sw_model.sched import sleep
from tests.mm_helpers import ANON, HUGE, PAGE, RW, Machine, filled


async def fails(code: int, call: Awaitable) -> None:
    """The awaited call raises OSError(code)."""
    with pytest.raises(OSError) as e:
        await call
    assert e.value.errno == code, e.value


def names(m: Machine) -> list[str]:
    """Names of the recorded events; forgets them."""
    out = [e[0] for e in m.rec.events]
    m.rec.events.clear()
    return out


def test_zero_page_then_cow():
    m = Machine()

    async def main():
        mm = MmStruct(m.phys)
        await m.rec.watch(mm)
        a = await mm.mmap(0, 2 * PAGE, RW, ANON)
        assert mm.pte(a).kind is PteKind.NONE and m.phys.nr_used() == 0
        assert await mm.load(a, 8) == bytes(8)
        assert mm.pte(a)[:3] == (PteKind.ZERO, m.phys.zero_pfn, False)
        await mm.store(a + 5, b"x")
        assert mm.pte(a).kind is PteKind.PRESENT and mm.pte(a).writable and mm.pte(a).dirty
        assert m.rec.events == [("CLEAR", a, a + PAGE)]
        assert await mm.load(a, 8) == b"\0\0\0\0\0x\0\0"
        assert not m.phys.page_view(m.phys.zero_pfn).any()
        await m.finish(mm)

    m.run(main)


def test_fork_isolates():
    m = Machine()

    async def main():
        mm = MmStruct(m.phys)
        await m.rec.watch(mm)
        a, ref = await filled(mm, 8 * PAGE)
        gen = mm.generation
        child = await mm.fork()
        assert mm.generation != gen, "cached CPU translations must end"
        assert names(m) == ["PROTECTION_PAGE"]
        assert mm.pte(a).pfn == child.pte(a).pfn and not mm.pte(a).writable and not child.pte(a).writable
        pfn = mm.pte(a).pfn
        assert (m.phys.refcount[pfn], m.phys.mapcount[pfn]) == (2, 2)
        await mm.store(a, b"P")
        assert names(m) == ["CLEAR"], "breaking COW in the parent invalidates it"
        await child.store(a + PAGE, b"C")
        assert names(m) == [], "the child has no notifier"
        assert await child.load(a, 8 * PAGE) == bytes(ref[:PAGE]) + b"C" + bytes(ref[PAGE + 1 :])
        assert await mm.load(a, 8 * PAGE) == b"P" + bytes(ref[1:])
        assert child.pte(a).pfn == pfn, "the child keeps the old page"
        await child.store(a, b"c")
        assert child.pte(a).pfn == pfn and m.phys.stats["reuse"] >= 1, "the last owner reuses it"
        grand = await child.fork()
        await child.exit()
        assert (await grand.load(a, 1)) == b"c"
        assert m.phys.check_balance() == [], "it adds up with processes alive too"
        await grand.exit()
        await m.finish(mm)

    m.run(main)


def test_fork_counts_at_exit():
    m = Machine()

    async def main():
        mm = MmStruct(m.phys)
        a, ref = await filled(mm, 6 * PAGE)
        kids = [await mm.fork() for _ in range(3)]
        await kids[0].store(a, b"0")
        await mm.madvise(a + PAGE, PAGE, MADV_DONTNEED)
        await reclaim.reclaim_pages(m.phys, 3)
        for k in kids[1:]:
            assert await k.load(a, 6 * PAGE) == bytes(ref)
        for k in kids:
            await k.exit()
        await m.finish(mm)

    m.run(main)


def test_munmap_order():
    """start, clear, end, free: in that order, and event UNMAP."""
    m = Machine()

    async def main():
        mm = MmStruct(m.phys)
        await m.rec.watch(mm)
        a, ref = await filled(mm, 4 * PAGE)
        m.rec.log.clear()
        await mm.munmap(a + PAGE, 2 * PAGE)
        kinds = [e[0] for e in m.rec.log]
        assert kinds == ["start", "clear", "clear", "end", "free", "free"]
        assert m.rec.log[0] == ("start", "UNMAP", a + PAGE, a + 3 * PAGE)
        assert [(v.vm_start, v.vm_end) for v in mm.vmas] == [(a, a + PAGE), (a + 3 * PAGE, a + 4 * PAGE)]
        await fails(errno.EFAULT, mm.load(a + PAGE, 1))
        assert await mm.load(a + 3 * PAGE, PAGE) == bytes(ref[3 * PAGE :])
        m.rec.log.clear()
        await mm.munmap(a + PAGE, 2 * PAGE)
        assert m.rec.log == [], "nothing mapped: no event, no error"
        await m.finish(mm)
        assert m.phys.nr_used() == 0

    m.run(main)


def test_freed_frames_are_poisoned_and_reused():
    m = Machine()

    async def main():
        mm = MmStruct(m.phys)
        a, _ = await filled(mm, 4 * PAGE)
        frames = {mm.pte(a + k * PAGE).pfn for k in range(4)}
        await mm.madvise(a, 4 * PAGE, MADV_DONTNEED)
        for f in frames:
            assert (m.phys.page_view(f) == 0x6B).all()
        await mm.store(a, bytes(4 * PAGE))
        assert {mm.pte(a + k * PAGE).pfn for k in range(4)} & frames, "freed frames come back soon"
        await mm.exit()

    m.run(main)


@pytest.mark.parametrize(
    "step", ["swap", "migrate", "mremap", "mremap_fixed", "dontunmap", "numa", "mprotect"]
)
def test_data_survives(step: str):
    m = Machine()
    expect = {
        "swap": "CLEAR", "migrate": "CLEAR", "mremap": "UNMAP", "mremap_fixed": "UNMAP", "dontunmap": "UNMAP",
        "numa": "PROTECTION_VMA", "mprotect": "PROTECTION_VMA",
    }  # fmt: skip

    async def main():
        mm = MmStruct(m.phys)
        await m.rec.watch(mm)
        n = 5 * PAGE
        a, ref = await filled(mm, n)
        before = [mm.pte(a + k * PAGE).pfn for k in range(5)]
        b = a
        if step == "swap":
            assert await mm.swap_out_range(a, a + n) == 5
            assert mm.pte(a).kind is PteKind.SWAP and m.phys.nr_used() == 0
        elif step == "migrate":
            assert await migrate.migrate_range(mm, a, a + n) == 5
            assert all(mm.pte(a + k * PAGE).pfn != before[k] for k in range(5))
        elif step.startswith("mremap"):
            fixed = step == "mremap_fixed"
            flags = MREMAP_MAYMOVE | (MREMAP_FIXED if fixed else 0)
            await mm.mmap(a + n, PAGE, PROT_READ, ANON | MAP_FIXED)  # in the way of growing in place
            b = await mm.mremap(a, n, n + PAGE, flags, 0x5000_0000 if fixed else 0)
            assert b == 0x5000_0000 if fixed else b != a
            await fails(errno.EFAULT, mm.load(a, 1))
            await mm.munmap(a + n, PAGE)
        elif step == "dontunmap":
            b = await mm.mremap(a, n, n, MREMAP_MAYMOVE | MREMAP_DONTUNMAP)
            assert b != a and await mm.load(a, 4) == bytes(4), "the old range is empty, and mapped"
        elif step == "numa":
            assert await mm_ops.change_prot_numa(mm, a, a + n) == 5
            assert mm.pte(a).kind is PteKind.PROTNONE and mm.translate_fast(a, False) == -1
        else:
            await mm.mprotect(a, n, PROT_NONE)
            await fails(errno.EFAULT, mm.load(a, 1))
            assert mm.pte(a).kind is PteKind.PROTNONE
            await mm.mprotect(a, n, PROT_READ)
            await fails(errno.EFAULT, mm.store(a, b"x"))
            await mm.mprotect(a, n, RW)
        assert set(names(m)) == {expect[step]}
        assert await mm.load(b, n) == bytes(ref)
        await mm.store(b + 7, b"again")
        ref[7:12] = b"again"
        assert await mm.load(b, n) == bytes(ref)
        await m.finish(mm)

    m.run(main)


def test_swap_shared_after_fork():
    m = Machine()

    async def main():
        mm = MmStruct(m.phys)
        a, ref = await filled(mm, 2 * PAGE)
        child = await mm.fork()
        assert await reclaim.swap_out(m.phys, mm.pte(a).pfn)
        assert mm.pte(a).kind is PteKind.SWAP is child.pte(a).kind
        assert m.phys.swap.nr_used == 1, "one slot for both"
        await mm.store(a, b"p")
        assert await child.load(a, PAGE) == bytes(ref[:PAGE])
        await child.store(a + 1, b"c")
        assert await mm.load(a, PAGE) == b"p" + bytes(ref[1:PAGE])
        assert await child.load(a, PAGE) == bytes(ref[:1]) + b"c" + bytes(ref[2:PAGE])
        assert m.phys.swap.nr_used == 0
        await mm.exit()
        await child.exit()
        assert m.phys.check_balance() == [] and m.phys.nr_used() == 0

    m.run(main)


def test_madvise_free():
    """Clean after MADV_FREE: discarded under pressure; written since, by CPU or device: kept."""
    m = Machine()

    async def main():
        mm = MmStruct(m.phys)
        await m.rec.watch(mm)
        a, ref = await filled(mm, 3 * PAGE)
        await mm.madvise(a, 3 * PAGE, MADV_FREE)
        assert names(m) == ["CLEAR"] and not mm.pte(a).dirty and mm.pte(a).writable
        await mm.store(a, b"w")
        m.phys.set_page_dirty(mm.pte(a + PAGE).pfn)  # a device wrote it
        assert await mm.swap_out_range(a, a + 3 * PAGE) >= 1
        assert await mm.load(a, PAGE) == b"w" + bytes(ref[1:PAGE])
        assert await mm.load(a + PAGE, PAGE) == bytes(ref[PAGE : 2 * PAGE])
        assert await mm.load(a + 2 * PAGE, PAGE) == bytes(PAGE)
        await m.finish(mm)

    m.run(main)


def test_thp_fault_split_collapse():
    m = Machine(mib=24)

    async def main():
        mm = MmStruct(m.phys)
        await m.rec.watch(mm)
        a = 0x4000_0000
        await mm.mmap(a, 2 * HUGE, RW, ANON | MAP_FIXED)
        await mm.madvise(a, 2 * HUGE, MADV_HUGEPAGE)
        ref = bytearray(range(256)) * (HUGE // 256)
        await mm.store(a, bytes(ref))
        p = mm.pte(a + 5 * PAGE)
        head = mm.pte(a).pfn
        assert (p.order, p.base, p.pfn) == (9, a, head + 5) and p.pfn % 512 == 5
        assert m.phys.refcount[head] == 1 and m.phys.mapcount[head + 511] == 1
        assert m.rec.events == []
        await mm.mprotect(a + PAGE, PAGE, PROT_READ)
        assert ("CLEAR", a, a + HUGE) in m.rec.events, "the huge leaf is split"
        assert mm.pte(a).order == 0 and mm.pte(a).writable and not mm.pte(a + PAGE).writable
        assert mm.pte(a + 5 * PAGE).pfn == head + 5 and m.phys.refcount[head] == 512
        await mm.mprotect(a + PAGE, PAGE, RW)
        await mm.munmap(a + 9 * PAGE, PAGE)
        assert m.phys.refcount[head] == 511 and m.phys.nr_used() == 512, "a compound page is freed whole"
        m.phys.get_page(head)
        assert await thp.split_folio(m.phys, head) == 0
        m.phys.put_page(head)
        assert m.phys.nr_used() == 511, "splitting frees what is unmapped"
        assert await mm.load(a + 10 * PAGE, PAGE) == bytes(ref[10 * PAGE : 11 * PAGE])
        assert await thp.collapse_huge_page(mm, a) == -errno.EINVAL, "two VMAs"
        await mm.mmap(a + 9 * PAGE, PAGE, RW, ANON | MAP_FIXED)
        await mm.madvise(a + 9 * PAGE, PAGE, MADV_HUGEPAGE)
        await mm.swap_out_range(a + 20 * PAGE, a + 22 * PAGE)
        m.rec.events.clear()
        assert await thp.collapse_huge_page(mm, a) == 0
        assert m.rec.events == [("CLEAR", a, a + HUGE)]
        ref[9 * PAGE : 10 * PAGE] = bytes(PAGE)
        assert mm.pte(a).order == 9 and await mm.load(a, HUGE) == bytes(ref)
        assert m.phys.nr_used() == 512
        b = await mm.mremap(a, HUGE, HUGE, MREMAP_MAYMOVE | MREMAP_FIXED, 0x8000_0000)
        assert mm.pte(b).order == 9 and await mm.load(b, HUGE) == bytes(ref)
        child = await mm.fork()
        assert child.pte(b).order == 9 and child.pte(b).pfn == mm.pte(b).pfn
        await child.store(b + 3 * PAGE, b"child")
        assert child.pte(b).order == 0 and mm.pte(b).order == 9
        assert await mm.load(b, HUGE) == bytes(ref)
        assert (await child.load(b, HUGE))[3 * PAGE + 5 :] == bytes(ref[3 * PAGE + 5 :])
        await child.exit()
        assert await migrate.migrate_page(m.phys, mm.pte(b).pfn) > 0
        assert await mm.load(b, HUGE) == bytes(ref)
        await m.finish(mm)

    m.run(main)


def test_ksm_merges_and_breaks():
    m = Machine()

    async def main():
        mm = MmStruct(m.phys)
        await m.rec.watch(mm)
        a, ref = await filled(mm, 3 * PAGE)
        await mm.store(a + PAGE, bytes(ref[:PAGE]))
        assert await ksm.merge_pages(mm, a, mm, a + 2 * PAGE) == -errno.EINVAL
        m.rec.events.clear()
        assert await ksm.merge_pages(mm, a, mm, a + PAGE) == 0
        assert set(names(m)) == {"CLEAR"}
        assert mm.pte(a).pfn == mm.pte(a + PAGE).pfn and m.phys.nr_used() == 2
        await mm.store(a, b"unshare")
        assert await mm.load(a + PAGE, PAGE) == bytes(ref[:PAGE])
        m.phys.get_page(mm.pte(a).pfn)  # a pin
        await mm.store(a + 2 * PAGE, await mm.load(a, PAGE))
        assert await ksm.merge_pages(mm, a, mm, a + 2 * PAGE) == -errno.EAGAIN
        m.phys.put_page(mm.pte(a).pfn)
        await m.finish(mm)

    m.run(main)


def test_pinned_pages_stay():
    m = Machine()

    async def main():
        mm = MmStruct(m.phys)
        a, ref = await filled(mm, PAGE)
        pfn = mm.pte(a).pfn
        m.phys.get_page(pfn)
        assert await migrate.migrate_page(m.phys, pfn) == -errno.EAGAIN
        assert not await reclaim.swap_out(m.phys, pfn)
        assert await mm.load(a, PAGE) == bytes(ref) and mm.pte(a).pfn == pfn
        m.phys.put_page(pfn)
        await m.finish(mm)

    m.run(main)


def test_file_mappings():
    m = Machine()

    async def main():
        mm, other = MmStruct(m.phys, "one"), MmStruct(m.phys, "two")
        await m.rec.watch(mm)
        f = File(m.phys, bytes(range(256)) * 40)  # 2.5 pages
        s = await mm.mmap(0, 4 * PAGE, RW, MAP_SHARED, f)
        p = await mm.mmap(0, 4 * PAGE, RW, MAP_PRIVATE, f)
        o = await other.mmap(0, 2 * PAGE, RW, MAP_SHARED, f, PAGE)
        assert await mm.load(s + 2 * PAGE + 2048, 4) == bytes(4), "the tail of the last page is zero"
        with pytest.raises(SigbusError) as e:
            await mm.load(s + 3 * PAGE + 5, 1)
        assert (e.value.errno, e.value.addr) == (errno.EFAULT, s + 3 * PAGE + 5)
        async with mm.mmap_lock.read():
            assert await mm.handle_mm_fault(mm.vma_lookup(s), s + 3 * PAGE, False) == VM_FAULT_SIGBUS
        await mm.load(s + PAGE, 1)
        assert not mm.pte(s + PAGE).writable, "dirty tracking: a read maps read-only"
        await mm.store(s + PAGE, b"shared")
        assert await other.load(o, 6) == b"shared" == await f.read(PAGE, 6)
        assert await mm.load(p + PAGE, 6) == b"shared"
        await mm.store(p + PAGE, b"PRIV")
        assert await other.load(o, 6) == b"shared" and await mm.load(p + PAGE, 6) == b"PRIVed"
        await f.write(PAGE, b"f")
        assert await mm.load(s + PAGE, 6) == b"fhared" and await mm.load(p + PAGE, 6) == b"PRIVed"
        names(m)
        assert await f.writeback() >= 1
        assert names(m) == ["PROTECTION_PAGE"] and not mm.pte(s + PAGE).writable
        assert bytes(f.disk[PAGE : PAGE + 6]) == b"fhared"
        await mm.store(s + PAGE, b"D")
        assert await reclaim.swap_out(m.phys, mm.pte(s + PAGE).pfn)
        assert mm.pte(s + PAGE).kind is PteKind.NONE and await mm.load(s + PAGE, 6) == b"Dhared"
        old = mm.pte(s + PAGE).pfn
        assert await migrate.migrate_page(m.phys, old) != old and await f.read(PAGE, 2) == b"Dh"
        child = await mm.fork()
        assert await child.load(p + PAGE, 4) == b"PRIV" and child.pte(s + PAGE).kind is PteKind.NONE
        await child.store(s + PAGE, b"C")
        assert await mm.load(s + PAGE, 1) == b"C", "a shared mapping stays shared over fork"
        await child.exit()
        names(m)
        await f.truncate(PAGE + 3)
        assert set(names(m)) <= {"CLEAR"}
        assert await f.read(PAGE, 9) == b"Cha" and await mm.load(s + PAGE + 3, 2) == bytes(2)
        await fails(errno.EFAULT, mm.load(p + 2 * PAGE, 1))
        await f.put()
        await other.exit()
        await m.finish(mm)

    m.run(main)


def test_shared_anonymous():
    m = Machine()

    async def main():
        mm = MmStruct(m.phys)
        a = await mm.mmap(0, 3 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS)
        await mm.store(a, b"parent")
        child = await mm.fork()
        assert await child.load(a, 6) == b"parent"
        await child.store(a + 1, b"ARENT")
        assert await mm.load(a, 6) == b"pARENT"
        assert await reclaim.reclaim_pages(m.phys, 4) >= 1
        assert await mm.load(a, 6) == b"pARENT"
        await mm.exit()
        assert await child.load(a, 6) == b"pARENT"
        await child.exit()
        assert m.phys.nr_used() == 0 and m.phys.check_balance() == []

    m.run(main)


def test_errors():
    m = Machine()

    async def main():
        mm = MmStruct(m.phys)
        f = File(m.phys, bytes(PAGE))
        await fails(errno.EINVAL, mm.mmap(0, 0, RW, ANON))
        await fails(errno.EINVAL, mm.mmap(0, PAGE, RW, MAP_ANONYMOUS))
        await fails(errno.EINVAL, mm.mmap(0x1001, PAGE, RW, ANON | MAP_FIXED))
        await fails(errno.EINVAL, mm.mmap(0, PAGE, RW, MAP_PRIVATE, f, 1))
        await fails(errno.EBADF, mm.mmap(0, PAGE, RW, MAP_PRIVATE))
        await fails(errno.ENOMEM, mm.mmap(0, 1 << 48, RW, ANON))
        await fails(errno.ENOMEM, mm.mmap(0x7FFF_FFFF_F000, PAGE, RW, ANON | MAP_FIXED))
        a = await mm.mmap(0x10000, 4 * PAGE, RW, ANON | MAP_FIXED)
        await fails(errno.EEXIST, mm.mmap(a, PAGE, RW, ANON | MAP_FIXED_NOREPLACE))
        assert await mm.mmap(a, PAGE, RW, ANON) != a, "a hint that is taken is ignored"
        await fails(errno.EINVAL, mm.munmap(a + 1, PAGE))
        await fails(errno.EINVAL, mm.munmap(a, 0))
        await fails(errno.EINVAL, mm.mprotect(a + 1, PAGE, RW))
        await fails(errno.ENOMEM, mm.mprotect(a, 5 * PAGE, PROT_READ))
        assert not mm.find_vma(a).vm_flags & 2, "what was mapped before the hole has changed"
        await mm.mprotect(a, 4 * PAGE, RW)
        await fails(errno.EINVAL, mm.madvise(a + 1, PAGE, MADV_DONTNEED))
        await fails(errno.EINVAL, mm.madvise(a, PAGE, 999))
        await fails(errno.ENOMEM, mm.madvise(a, 5 * PAGE, MADV_DONTNEED))
        fm = await mm.mmap(0, PAGE, RW, MAP_PRIVATE, f)
        await fails(errno.EINVAL, mm.madvise(fm, PAGE, MADV_FREE))
        await fails(errno.EFAULT, mm.mremap(0x90000, PAGE, 2 * PAGE))
        await fails(errno.EFAULT, mm.mremap(a, 5 * PAGE, 6 * PAGE))
        await fails(errno.EINVAL, mm.mremap(a + 1, PAGE, PAGE))
        await fails(errno.EINVAL, mm.mremap(a, PAGE, 0))
        await fails(errno.EINVAL, mm.mremap(a, PAGE, PAGE, MREMAP_FIXED, 0x90000))
        await fails(errno.EINVAL, mm.mremap(a, 2 * PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP))
        await fails(errno.EINVAL, mm.mremap(a, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, a + PAGE))
        await fails(errno.ENOMEM, mm.mremap(a, PAGE, 8 * PAGE, 0))
        with pytest.raises(SegvError) as e:
            await mm.store(0x666_0008, b"x")
        assert e.value.addr == 0x666_0008
        async with mm.mmap_lock.read():
            v = mm.vma_lookup(fm)
            v.vm_flags &= ~2
            assert await mm.handle_mm_fault(v, fm, True) == VM_FAULT_SIGSEGV
        await f.put()
        await m.finish(mm)

    m.run(main)


def test_out_of_memory():
    m = Machine(mib=1, swap_slots=0)

    async def main():
        mm = MmStruct(m.phys)
        a = await mm.mmap(0, 2 << 20, RW, ANON)
        with pytest.raises(OSError) as e:
            await mm.store(a, bytes(2 << 20))
        assert e.value.errno == errno.ENOMEM
        async with mm.mmap_lock.read():
            assert await mm.handle_mm_fault(mm.find_vma(a), a + (2 << 20) - PAGE, True) == VM_FAULT_OOM
        with pytest.raises(OSError):
            m.phys.alloc_contig(4)
        await m.finish(mm)
        p = m.phys.alloc_contig(8, 8)
        assert p % 8 == 0 and (m.phys.refcount[p : p + 8] == 1).all()
        m.phys.free_contig(p, 8)
        assert m.phys.nr_used() == 0

    m.run(main)


def test_direct_reclaim():
    """Twice as much data as memory: faults swap other pages out, and all data comes back."""
    m = Machine(mib=1, swap_slots=2048)

    async def main():
        mm = MmStruct(m.phys)
        await m.rec.watch(mm)
        a, ref = await filled(mm, 2 << 20)
        assert m.phys.stats["swap_out"] > 200
        assert await mm.load(a, 2 << 20) == bytes(ref)
        await m.finish(mm)

    m.run(main)


def test_brk():
    m = Machine()

    async def main():
        mm = MmStruct(m.phys)
        mm.set_brk(0x100_0000)
        assert await mm.brk(0) == 0x100_0000
        assert await mm.brk(0x100_2345) == 0x100_2345
        await mm.store(0x100_2FFF, b"x")
        await fails(errno.EFAULT, mm.store(0x100_3000, b"x"))
        assert await mm.brk(0x100_4000) == 0x100_4000 and len(mm.vmas) == 1
        assert await mm.brk(0x100_1000) == 0x100_1000
        await fails(errno.EFAULT, mm.load(0x100_2FFF, 1))
        await mm.brk(0x100_4000)
        assert await mm.load(0x100_2FFF, 1) == b"\0"
        await mm.mmap(0x100_6000, PAGE, RW, ANON | MAP_FIXED)
        assert await mm.brk(0x100_8000) == 0x100_4000
        await m.finish(mm)

    m.run(main)


def test_vma_split_merge():
    m = Machine()

    async def main():
        mm = MmStruct(m.phys)
        a = await mm.mmap(0x10000, 8 * PAGE, RW, ANON | MAP_FIXED)
        await mm.mprotect(a + 2 * PAGE, 2 * PAGE, PROT_READ)
        assert len(mm.vmas) == 3
        assert mm.find_vma(a + 2 * PAGE).vm_start == a + 2 * PAGE and mm.vma_lookup(a - 1) is None
        await mm.mprotect(a + 2 * PAGE, 2 * PAGE, RW)
        assert [(v.vm_start, v.vm_end) for v in mm.vmas] == [(a, a + 8 * PAGE)]
        f = File(m.phys, bytes(8 * PAGE))
        b = await mm.mmap(0x90000, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, f, 0)
        await mm.mmap(b + 2 * PAGE, 2 * PAGE, RW, MAP_SHARED | MAP_FIXED, f, 2 * PAGE)
        assert len(mm.vmas) == 2 and f.refs == 2
        await mm.mmap(b + 4 * PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, f, 6 * PAGE)
        assert len(mm.vmas) == 3 and f.refs == 3, "the offset does not continue"
        await mm.munmap(b + PAGE, PAGE)
        assert f.refs == 4 and len(f.vmas) == 3
        await f.put()
        await m.finish(mm)

    m.run(main)


def test_dontfork_and_page_tables_freed():
    m = Machine()

    async def main():
        mm = MmStruct(m.phys)
        await filled(mm, PAGE, addr=0x4000_0000)
        b, _ = await filled(mm, PAGE, addr=0x7000_0000_0000)
        assert mm.pt.nr_tables == 6
        await mm.madvise(b, PAGE, MADV_DONTFORK)
        child = await mm.fork()
        await fails(errno.EFAULT, child.load(b, 1))
        await child.exit()
        await mm.munmap(b, PAGE)
        assert mm.pt.nr_tables == 3
        pt = mm.pt
        await m.finish(mm)
        assert pt.nr_tables == 0

    m.run(main)


def test_exit_releases_first():
    m = Machine()

    async def main():
        mm = MmStruct(m.phys)
        await m.rec.watch(mm)
        await filled(mm, 2 * PAGE)
        m.rec.log.clear()
        await mm.mmgrab()
        await mm.exit()
        assert m.rec.log[0] == ("release", mm.mm_id)
        assert [e[0] for e in m.rec.log[1:]] == ["clear", "clear", "free", "free"]
        assert not await mm.mmget_not_zero() and mm.mm_count == 2
        await m.rec.unwatch(mm)
        await mm.mmdrop()
        assert is_freed(mm)

    m.run(main)


def test_translation_cache_generation():
    """A translation cached until `generation` changes is never stale."""
    m = Machine()

    async def main():
        mm = MmStruct(m.phys)
        a, _ = await filled(mm, 2 * PAGE)
        for step in ("swap", "migrate", "fork", "mprotect", "zap", "mremap"):
            await mm.store(a, b"x")
            gen = mm.generation
            assert mm.translate_fast(a, True) >= 0 and mm.generation == gen
            if step == "swap":
                await mm.swap_out_range(a, a + PAGE)
            elif step == "migrate":
                await migrate.migrate_range(mm, a, a + PAGE)
            elif step == "fork":
                await (await mm.fork()).exit()
            elif step == "mprotect":
                await mm.mprotect(a, PAGE, PROT_READ)
                await mm.mprotect(a, PAGE, RW)
            elif step == "zap":
                await mm.madvise(a, PAGE, MADV_DONTNEED)
            else:
                a = await mm.mremap(a, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, 0x6000_0000)
            assert mm.generation != gen, step
        await m.finish(mm)

    m.run(main)


async def migrating(m: Machine, mm: MmStruct, a: int) -> int:
    """Begin to migrate the page at `a`: its entries are migration entries, the folio is locked and pinned."""
    pfn = mm.pte(a).pfn
    m.phys.get_page(pfn)
    assert m.phys.trylock_page(pfn)
    assert await reclaim.try_to_unmap(m.phys, pfn, migrate=True)
    return pfn


async def migrated(m: Machine, pfn: int) -> None:
    """Abandon the migration: the entries map the page again."""
    await reclaim.remove_migration_ptes(m.phys, pfn, pfn)
    m.phys.unlock_page(pfn)
    m.phys.put_page(pfn)


def test_migration_entries_move_fork_and_lose_permission():
    m = Machine()

    async def main():
        mm = MmStruct(m.phys)
        await m.rec.watch(mm)
        a, ref = await filled(mm, 4 * PAGE)
        pfns = [await migrating(m, mm, a + k * PAGE) for k in range(4)]
        assert mm.pte(a).kind is PteKind.MIGRATION and mm.translate_fast(a, False) == -1
        await mm.mprotect(a, PAGE, PROT_READ)
        child = await mm.fork()
        b = 0x6000_0000
        await mm.mremap(a + PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, b)
        await mm.munmap(a + 3 * PAGE, PAGE)
        for pfn in pfns:
            await migrated(m, pfn)
        assert [mm.pte(x).pfn for x in (a, b, b + PAGE)] == pfns[:3]
        assert mm.pte(a + 3 * PAGE).kind is PteKind.NONE
        assert not mm.pte(a).writable and not mm.pte(b).writable, "read-only by mprotect, and by fork"
        await fails(errno.EFAULT, mm.store(a, b"x"))
        await mm.store(b, b"x")
        assert await child.load(a, 4 * PAGE) == bytes(ref)
        await child.exit()
        pfn = await migrating(m, mm, b + PAGE)
        await mm.mprotect(b + PAGE, PAGE, PROT_READ)
        await migrated(m, pfn)
        assert not mm.pte(b + PAGE).writable
        await m.finish(mm)

    m.run(main)


def test_fault_waits_for_migration():
    m = Machine()

    async def main():
        mm = MmStruct(m.phys)
        a, ref = await filled(mm, PAGE)
        pfn = await migrating(m, mm, a)
        t = m.sched.spawn(mm.load(a, PAGE), "loader")
        w = m.sched.spawn(mm.migration_entry_wait(a), "waiter")
        await sleep(1000)  # lets the others run until they block
        assert not t.done and not w.done
        assert m.phys.refcount[pfn] == 1, "a waiter holds no reference: the migration would fail"
        await migrated(m, pfn)
        assert await t.join() == bytes(ref)
        await w.join()
        await mm.migration_entry_wait(a)
        await m.finish(mm)

    m.run(main)


def test_fault_retry_drops_the_lock():
    """With allow_retry a fault that must wait for a locked page returns VM_FAULT_RETRY without mmap_lock."""
    m = Machine()

    async def main():
        mm = MmStruct(m.phys)
        a, _ = await filled(mm, PAGE)
        pfn = await migrating(m, mm, a)

        async def faulter() -> int:
            await mm.mmap_lock.down_read()
            return await mm.handle_mm_fault(mm.vma_lookup(a), a, False, allow_retry=True)

        t = m.sched.spawn(faulter(), "faulter")
        await sleep(1000)  # lets the others run until they block
        assert mm.mmap_lock.readers == 0 and not t.done
        await migrated(m, pfn)
        assert await t.join() == VM_FAULT_RETRY and mm.mmap_lock.readers == 0
        await m.finish(mm)

    m.run(main)


def test_anon_pages_follow_split_and_merge_into_fork():
    m = Machine()

    async def main():
        mm = MmStruct(m.phys)
        a, ref = await filled(mm, 3 * PAGE, addr=0x10000)
        await mm.mprotect(a + PAGE, PAGE, PROT_READ)
        await mm.mmap(a - PAGE, PAGE, RW, ANON | MAP_FIXED)
        await mm.mprotect(a + PAGE, PAGE, RW)
        assert len(mm.vmas) == 1
        child = await mm.fork()
        assert await child.load(a, 3 * PAGE) == bytes(ref)
        await mm.mprotect(a + PAGE, PAGE, PROT_READ)
        other = await mm.fork()
        assert await other.load(a, 3 * PAGE) == bytes(ref)
        await child.exit()
        await other.exit()
        await m.finish(mm)

    m.run(main)


def test_merged_and_pinned_pages_keep_apart():
    m = Machine(mib=8)

    async def main():
        mm = MmStruct(m.phys)
        await m.rec.watch(mm)
        a, ref = await filled(mm, HUGE, addr=0x4000_0000)
        await mm.store(a + PAGE, bytes(ref[:PAGE]))
        assert await ksm.merge_pages(mm, a, mm, a + PAGE) == 0
        await mm.mprotect(a, 2 * PAGE, PROT_READ)
        await mm.mprotect(a, 2 * PAGE, RW)
        assert not mm.pte(a).writable, "a merged page is never made writable without a fault"
        await mm.swap_out_range(a, a + PAGE)
        await reclaim.swap_out(m.phys, mm.pte(a).pfn)
        await mm.store(a, b"mine")
        assert await mm.load(a + PAGE, PAGE) == bytes(ref[:PAGE])
        pfn = mm.pte(a + 7 * PAGE).pfn
        m.phys.get_page(pfn)
        assert await thp.collapse_huge_page(mm, a) == -errno.EAGAIN
        assert mm.pte(a + 7 * PAGE).pfn == pfn and mm.pte(a).order == 0
        m.phys.put_page(pfn)
        assert await thp.collapse_huge_page(mm, a) == 0
        want = b"mine" + bytes(ref[4:PAGE]) + bytes(ref[:PAGE]) + bytes(ref[2 * PAGE :])
        assert await mm.load(a, HUGE) == want
        m.phys.get_page(mm.pte(a).pfn)
        assert await migrate.migrate_page(m.phys, mm.pte(a).pfn + 3) == -errno.EAGAIN
        m.phys.put_page(mm.pte(a).pfn)
        await m.finish(mm)

    m.run(main)


def test_zap_between_end_and_free():
    """A full gather batch frees before the end, never before the start."""
    m = Machine(mib=16)

    async def main():
        mm = MmStruct(m.phys)
        await m.rec.watch(mm)
        a, _ = await filled(mm, 10 << 20)
        m.rec.log.clear()
        await mm.madvise(a, 10 << 20, MADV_DONTNEED)
        kinds = [e[0] for e in m.rec.log]
        assert kinds[0] == "start" and kinds.count("end") == 1 and kinds.count("free") == 2560
        assert kinds.index("free") < kinds.index("end")
        await m.finish(mm)

    m.run(main)
