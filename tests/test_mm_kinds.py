"""Hugetlb pages, userfaultfd, get_user_pages, broken pages, and 2-MiB pages of device memory."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sw_model import gup, migrate, reclaim, thp
from sw_model.devmem import MEMORY_DEVICE_COHERENT, MEMORY_DEVICE_PRIVATE
from sw_model.dmirror import PROT_PMD, Dmirror, DmirrorDevice
from sw_model.hugetlb import HugetlbPool
from sw_model.hwpoison import EHWPOISON, memory_failure, unpoison_memory
from sw_model.mm import (
    MADV_DONTNEED,
    MADV_FREE,
    MADV_HUGEPAGE,
    MAP_FIXED,
    MAP_HUGETLB,
    MAP_SHARED,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    PROT_READ,
    File,
    MmStruct,
    PteKind,
    SegvError,
    SigbusError,
)
from sw_model.sched import point
from sw_model.userfaultfd import Userfaultfd
from tests.mm_helpers import ANON, HUGE, PAGE, RW, Machine, filled

KINDS = pytest.mark.parametrize("kind", [MEMORY_DEVICE_PRIVATE, MEMORY_DEVICE_COHERENT])


def run(body: Callable[[Machine, MmStruct], Awaitable[Any]], mib: int = 16, seed: int | None = None) -> None:
    """One process, watched; everything balances at its end."""
    m = Machine(mib, seed=seed)

    async def main() -> None:
        mm = MmStruct(m.phys)
        await m.rec.watch(mm)
        await body(m, mm)
        await m.finish(mm)

    m.run(main)


async def refused(code: int, call: Awaitable[Any]) -> None:
    """The call raises OSError with this errno."""
    with pytest.raises(OSError) as e:
        await call
    assert e.value.errno == code


# -- hugetlb ---------------------------------------------------------------------------------------


def test_hugetlb_pages_are_left_alone() -> None:
    """Nothing cuts, swaps, moves or merges a hugetlb page, and a device cannot have it."""

    async def body(m: Machine, mm: MmStruct) -> None:
        await refused(errno.ENOMEM, mm.mmap(0, HUGE, RW, ANON | MAP_HUGETLB))
        pool = HugetlbPool(m.phys, 2)
        await refused(errno.EINVAL, mm.mmap(0, HUGE, RW, MAP_SHARED | 0x20 | MAP_HUGETLB))
        await refused(errno.EINVAL, mm.mmap(PAGE, HUGE, RW, ANON | MAP_FIXED | MAP_HUGETLB))
        a = await mm.mmap(0, HUGE + 1, RW, ANON | MAP_HUGETLB)
        assert a % HUGE == 0 and mm.vma_lookup(a).vm_end == a + 2 * HUGE
        await mm.store(a, b"huge")
        assert (mm.pte(a).order, mm.pte(a + HUGE).kind) == (9, PteKind.NONE)
        pfn = mm.pte(a).pfn
        await refused(errno.EINVAL, mm.munmap(a, PAGE))
        await refused(errno.EINVAL, mm.mprotect(a, PAGE, PROT_READ))
        await refused(errno.EINVAL, mm.madvise(a, PAGE, MADV_DONTNEED))
        await refused(errno.EINVAL, mm.madvise(a, HUGE, MADV_FREE))
        await refused(errno.EINVAL, mm.mremap(a, HUGE, HUGE, MREMAP_MAYMOVE | MREMAP_FIXED, a + 4 * HUGE))
        assert await reclaim.reclaim_pages(m.phys, 4) == 0
        assert await migrate.migrate_page(m.phys, pfn) < 0
        assert await mm.swap_out_range(a, a + HUGE) == 0
        fd = await Dmirror.open(DmirrorDevice(m.phys, 8), mm)
        assert (await fd.migrate_to_dev(a, 1)).ret == -errno.EINVAL
        assert (await fd.exclusive(a, 1)).ret == -errno.EOPNOTSUPP
        assert (await fd.read(a, 1)).data[:4] == b"huge"
        await fd.close()
        fd.device.close()
        assert (mm.pte(a).pfn, mm.pte(a).order) == (pfn, 9)
        await mm.madvise(a, HUGE, MADV_DONTNEED)
        assert len(pool.free) == 2 and await mm.load(a, 4) == bytes(4)
        await mm.munmap(a, 2 * HUGE)
        pool.close()

    run(body)


def test_hugetlb_copy_on_write() -> None:
    """fork() shares the page; who writes first gets another one, or SIGBUS when the pool is empty."""

    async def body(m: Machine, mm: MmStruct) -> None:
        for nr in (1, 2):
            pool = HugetlbPool(m.phys, nr)
            a = await mm.mmap(0, HUGE, RW, ANON | MAP_HUGETLB)
            await mm.store(a, b"parent")
            child = await mm.fork()
            assert not mm.pte(a).writable and mm.pte(a).pfn == child.pte(a).pfn
            if nr == 1:
                with pytest.raises(SigbusError):
                    await child.store(a, b"child!")
            else:
                m.rec.events.clear()
                await mm.store(a, b"PARENT")
                assert [e[0] for e in m.rec.events] == ["CLEAR"]
                assert await child.load(a, 6) == b"parent"
            await child.exit()
            await mm.store(a, b"alone")
            assert (mm.pte(a).order, mm.pte(a).writable) == (9, True)
            await mm.munmap(a, HUGE)
            pool.close()

    run(body)


# -- userfaultfd -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_userfaultfd(seed: int) -> None:
    """Threads wait for pages that another one provides; errors; close() lets the rest go on."""

    async def body(m: Machine, mm: MmStruct) -> None:
        a = await mm.mmap(0, 8 * PAGE, RW, ANON)
        f = File(m.phys, size=PAGE)
        b = await mm.mmap(0, PAGE, RW, MAP_SHARED, f)
        uffd = Userfaultfd(mm)
        with pytest.raises(OSError):
            Userfaultfd(mm)
        await refused(errno.EINVAL, uffd.register(a + 1, PAGE))
        await refused(errno.EINVAL, uffd.register(b, PAGE))
        await refused(errno.EINVAL, uffd.register(a, 9 * PAGE))
        await uffd.register(a, 8 * PAGE)
        await refused(errno.ENOENT, uffd.copy(b, bytes(PAGE)))
        served: list[int] = []

        async def handler() -> None:
            while len(served) < 4 and (at := await uffd.read()) is not None:
                try:
                    await uffd.copy(at, bytes([at >> 12 & 0xFF]) * PAGE)
                    served.append(at)
                except OSError as e:
                    assert e.errno == errno.EEXIST, "two threads wait for one page"
                    uffd.wake(at, PAGE)

        async def reader(page: int) -> None:
            at = a + page * PAGE
            assert await mm.load(at, 1) == bytes([at >> 12 & 0xFF])

        async def writer() -> None:
            await mm.store(a + 7 * PAGE, b"w")
            assert await mm.load(a + 7 * PAGE, 2) == b"w\0", "after close() it is ordinary memory"

        threads = [m.sched.spawn(handler(), "handler")]
        threads += [m.sched.spawn(reader(p % 4), f"reader {p}") for p in range(8)]
        for t in threads:
            await t.join()
        assert sorted(served) == [a + p * PAGE for p in range(4)]
        await refused(errno.EEXIST, uffd.copy(a, bytes(PAGE)))
        late = m.sched.spawn(writer(), "writer")
        while not uffd._pending:
            await point("test")
        await uffd.close()
        await late.join()
        assert mm.userfaultfd is None
        await mm.munmap(b, PAGE)
        await f.put()

    run(body, seed=seed)


# -- get_user_pages and memory failure -------------------------------------------------------------


def test_get_user_pages() -> None:
    async def body(m: Machine, mm: MmStruct) -> None:
        phys = m.phys
        a, ref = await filled(mm, 4 * PAGE)
        ro = await mm.mmap(0, PAGE, PROT_READ, ANON)
        zero = await gup.get_user_pages(mm, ro, 1)
        assert zero == [phys.zero_pfn]
        await refused(errno.EFAULT, gup.get_user_pages(mm, ro, 1, gup.FOLL_WRITE))
        await refused(errno.EFAULT, gup.get_user_pages_fast(mm, a + 3 * PAGE, 2, gup.FOLL_WRITE))
        gup.put_user_pages(phys, zero)
        pins = await gup.get_user_pages_fast(mm, a, 4, gup.FOLL_WRITE)
        assert await migrate.migrate_range(mm, a, a + 4 * PAGE) == 0, "pinned pages stay"
        fd = await Dmirror.open(DmirrorDevice(phys, 8), mm)
        assert (await fd.migrate_to_dev(a, 4)).ret == -errno.ENOENT
        gup.put_user_pages(phys, pins)
        assert (await fd.migrate_to_dev(a, 4)).data == bytes(ref)
        await fd.close()
        fd.device.close()

    run(body, 4)


def test_memory_failure() -> None:
    async def body(m: Machine, mm: MmStruct) -> None:
        phys = m.phys
        a = await mm.mmap(0, 2 * HUGE, RW, ANON)
        h = (a + HUGE - 1) & -HUGE
        await mm.madvise(h, HUGE, MADV_HUGEPAGE)
        await mm.store(h, b"x" * HUGE)
        bad = mm.pte(h).pfn + 5
        assert await memory_failure(phys, bad) == 0
        assert await memory_failure(phys, bad) == -EHWPOISON
        assert mm.pte(h + 5 * PAGE).kind is PteKind.HWPOISON and mm.pte(h).order == 0
        with pytest.raises(SegvError):
            await mm.store(h + 5 * PAGE, b"y")
        b = await mm.mremap(h + 4 * PAGE, 3 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, 0x10_0000)
        assert mm.pte(b + PAGE).kind is PteKind.HWPOISON and await mm.load(b, 1) == b"x"
        f = File(phys, size=PAGE)
        c = await mm.mmap(0, PAGE, RW, MAP_SHARED, f)
        await mm.store(c, b"f")
        assert await memory_failure(phys, mm.pte(c).pfn) == -errno.EBUSY
        fd = await Dmirror.open(DmirrorDevice(phys, 8), mm)
        await fd.migrate_to_dev(b, 1)
        assert await memory_failure(phys, mm.pte(b).pfn) == -errno.ENXIO
        await fd.close()
        fd.device.close()
        await mm.munmap(c, PAGE)
        await f.put()
        unpoison_memory(phys, bad)

    run(body)


# -- 2-MiB pages of device memory ------------------------------------------------------------------


async def huge_on_device(m: Machine, mm: MmStruct, kind: int, pages: int = 512) -> tuple[Dmirror, int, bytes]:
    """A 2-MiB page with random data that has moved to a device of `pages` pages."""
    fd = await DmirrorDevice(m.phys, pages, kind).open(mm)
    at = 64 * HUGE
    await mm.mmap(at, HUGE, RW, ANON | MAP_FIXED)
    await mm.madvise(at, HUGE, MADV_HUGEPAGE)
    _, ref = await filled(mm, HUGE, addr=0)
    data = bytes(ref)
    await mm.store(at, data)
    cmd = await fd.migrate_to_dev(at, 512)
    assert (cmd.ret, cmd.data) == (0, data)
    return fd, at, data


@KINDS
def test_a_huge_device_page_moves_as_a_whole(kind: int) -> None:
    async def body(m: Machine, mm: MmStruct) -> None:
        fd, a, data = await huge_on_device(m, mm, kind)
        device, phys = fd.device, m.phys
        assert mm.pte(a).order == 9 and device.pagemap.free == []
        assert set((await fd.snapshot(a, 512)).data[:2]) == set((await fd.snapshot(a + PAGE, 1)).data)
        assert (await fd.snapshot(a, 1)).data[0] & PROT_PMD
        b = await mm.mremap(a, HUGE, HUGE, MREMAP_MAYMOVE | MREMAP_FIXED, a + 4 * HUGE)
        assert mm.pte(b).order == 9
        await mm.mprotect(b, HUGE, PROT_READ)
        assert mm.pte(b).order == 9 and not mm.pte(b).writable
        await mm.mprotect(b, HUGE, RW)
        assert await mm.load(b + 100 * PAGE, PAGE) == data[100 * PAGE : 101 * PAGE]
        assert mm.pte(b).order == 9, "a leaf comes back as a leaf"
        if kind == MEMORY_DEVICE_COHERENT:
            assert (await fd.migrate_to_sys(b, 512)).cpages == 512
        assert len(device.pagemap.free) == 512 and phys.check_balance() == []
        assert await mm.load(b, HUGE) == data
        await fd.close()
        device.close()

    run(body)


@KINDS
@pytest.mark.parametrize("how", ["dontneed", "mprotect", "fork", "evict", "gup"])
def test_a_huge_device_page_is_split(kind: int, how: str) -> None:
    async def body(m: Machine, mm: MmStruct) -> None:
        fd, a, data = await huge_on_device(m, mm, kind)
        half = HUGE // 2
        if how == "dontneed":
            await mm.madvise(a, half, MADV_DONTNEED)
            data = bytes(half) + data[half:]
        elif how == "mprotect":
            await mm.mprotect(a, half, PROT_READ)
        elif how == "fork":
            child = await mm.fork()
            await child.store(a + PAGE, b"child")
            assert await mm.load(a, HUGE) == data
            await mm.store(a, b"parent")
            assert await child.load(a, 1) == data[:1]
            await child.exit()
            data = b"parent" + data[6:]
        elif how == "evict":
            await fd.release()
            assert len(fd.device.pagemap.free) == 512
        else:
            pins = await gup.get_user_pages(mm, a + 7 * PAGE, 2, gup.FOLL_WRITE | gup.FOLL_LONGTERM)
            assert pins == [mm.pte(a + p * PAGE).pfn for p in (7, 8)]
            assert not any(p >= fd.device.pagemap.first_pfn for p in pins)
            gup.put_user_pages(m.phys, pins)
        assert m.phys.check_balance() == []
        assert (await fd.read(a, 512)).data == data
        assert await mm.load(a, HUGE) == data
        await fd.release()  # a folio that PTEs map gives its pages back only when it is split
        assert (await fd.migrate_to_dev(a, 512)).data == data
        assert await mm.load(a, HUGE) == data
        await fd.close()
        fd.device.close()

    run(body)


def test_no_room_for_a_huge_page() -> None:
    """A device without 512 free aligned pages gets small ones."""

    async def body(m: Machine, mm: MmStruct) -> None:
        fd = await DmirrorDevice(m.phys, 600).open(mm)
        b, ref = await filled(mm, 100 * PAGE)
        await fd.migrate_to_dev(b, 100)
        await mm.munmap(b + PAGE, 98 * PAGE)
        at = 64 * HUGE
        await mm.mmap(at, HUGE, RW, ANON | MAP_FIXED)
        await mm.madvise(at, HUGE, MADV_HUGEPAGE)
        await mm.store(at, b"z" * HUGE)
        taken = fd.device.pagemap.alloc_huge() < 0
        assert taken, "fragmented"
        assert (await fd.migrate_to_dev(at, 512)).data == b"z" * HUGE
        assert mm.pte(at).order == 0 and await mm.load(b, PAGE) == ref[:PAGE]
        await fd.close()
        fd.device.close()

    run(body)


@KINDS
@pytest.mark.parametrize("seed", range(2))
def test_huge_device_pages_against_everything(kind: int, seed: int) -> None:
    """A 2-MiB page goes to the device and back while others discard, fork, split and evict."""

    async def body(m: Machine, mm: MmStruct) -> None:
        fd, a, data = await huge_on_device(m, mm, kind)
        stop: list[int] = []

        async def others() -> None:
            while not stop:
                await mm.madvise(a + HUGE // 2, HUGE // 2, MADV_DONTNEED)
                await fd.device.evict()
                child = await mm.fork()
                await child.store(a, b"child")
                await child.exit()
                await thp.collapse_huge_page(mm, a)
                await migrate.migrate_page(m.phys, mm.pte(a).pfn if mm.pte(a).pfn > 0 else 1)

        thread = m.sched.spawn(others(), "others")
        for i in range(2):
            assert (await fd.migrate_to_dev(a, 512)).ret in (0, -errno.ENOENT)
            assert await mm.load(a, 4 * PAGE) == data[: 4 * PAGE]
            new = bytes([i]) * PAGE
            assert (await fd.write(a, new)).ret == 0
            data = new + data[PAGE:]
            assert (await fd.migrate_to_sys(a, 512)).ret == 0
        stop.append(1)
        await thread.join()
        assert await mm.load(a, HUGE // 2) == data[: HUGE // 2]
        await fd.close()
        fd.device.close()

    run(body, 24, seed=seed)
