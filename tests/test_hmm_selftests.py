"""The kernel's HMM tests (tools/testing/selftests/mm/hmm-tests.c): all 39 cases, under their own names.

Each case runs for private and for coherent device memory, on the model of the kernel's test device and with
Verilated devices in its place (`-rtl`): there every byte that the device reads or writes goes through the MMU
and the access engine, and the oracle watches. A case asserts what the kernel's asserts, and besides: every
entry changes inside an invalidation, nothing leaks, every count adds up at the end.

Where a case differs from the kernel's:

- on the RTL a buffer has 64 pages instead of 256, loops are shorter, and after the migration of 2 MiB the
  device reads 64 pages at either end;
- the RTL faults page by page, so `buffer->faults` is compared with 1 on the host's model only;
- compound: 2-MiB pages only, the model has no leaf of 1 GiB;
- migrate_anon_huge_zero: the model has no huge zero page, a 2-MiB page of zeros stands for it;
- benchmark_thp_migration: 2 MiB, and no time is measured;
- userfaultfd_read: also that a read which keeps mmap_lock is refused.
"""

from __future__ import annotations

import errno

import pytest

from sw_model import dmirror as dm
from sw_model import gup
from sw_model.hugetlb import HugetlbPool
from sw_model.mm import (
    MADV_FREE,
    MADV_HUGEPAGE,
    MADV_NOHUGEPAGE,
    MAP_ANONYMOUS,
    MAP_HUGETLB,
    MAP_PRIVATE,
    MAP_SHARED,
    MREMAP_DONTUNMAP,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    PROT_NONE,
    PROT_READ,
    File,
    PteKind,
)
from sw_model.sched import sleep
from sw_model.userfaultfd import Userfaultfd
from tests.dmirror_helpers import Hmm, Variant, hmm, ints, variants
from tests.mm_helpers import ANON, HUGE, PAGE, RW

CASES = """
open_close anon_read anon_read_prot anon_write anon_write_prot anon_write_child anon_write_child_shared
anon_write_huge anon_write_hugetlbfs file_read file_write migrate migrate_file_private migrate_fault
migrate_release migrate_shared migrate_mixed migrate_multiple anon_read_multiple anon_teardown mixedmap
snapshot compound double_map exclusive exclusive_mprotect exclusive_cow hmm_gup_test hmm_cow_in_device
migrate_anon_huge_empty migrate_anon_huge_zero migrate_anon_huge_free migrate_anon_huge_fault
migrate_partial_unmap_fault migrate_remap_fault migrate_anon_huge_err migrate_anon_huge_zero_err
benchmark_thp_migration userfaultfd_read
"""


def test_every_case_is_here() -> None:
    """The names are those of the kernel's, each runs in all variants."""
    names = CASES.split()
    assert len(set(names)) == 39
    for name in names:
        (mark,) = [m for m in globals()[f"test_{name}"].pytestmark if m.args[0] == "v"]
        assert mark.kwargs["ids"] == variants.mark.kwargs["ids"] and len(mark.kwargs["ids"]) == 4, name


@variants
def test_open_close(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        assert h.mm.mm_count > 1

    hmm(v, body)


@variants
def test_anon_read(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        a = await h.mm.mmap(0, h.size, RW, ANON)
        await h.mm.store(a + 2 * PAGE, ints(h.size)[2 * PAGE :])
        await h.mm.mprotect(a, h.size, PROT_READ)
        await h.cpu(a + PAGE, bytes(4))
        data = h.ok(await h.fd.read(a, h.npages), h.npages)
        assert data[: 2 * PAGE] == bytes(2 * PAGE)
        assert data[2 * PAGE :] == ints(h.size)[2 * PAGE :]

    hmm(v, body)


@variants
def test_anon_read_prot(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        a = await h.filled()
        await h.mm.mprotect(a, h.size, PROT_NONE)
        cmd = await h.fd.read(a, h.npages)
        assert cmd.ret == -errno.EFAULT and cmd.data == b""
        await h.mm.mprotect(a, h.size, PROT_READ)
        await h.cpu(a, ints(h.size))

    hmm(v, body)


@variants
def test_anon_write(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        a = await h.mm.mmap(0, h.size, RW, ANON)
        h.ok(await h.fd.write(a, ints(h.size)), h.npages)
        await h.cpu(a, ints(h.size))

    hmm(v, body)


@variants
def test_anon_write_prot(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        a = await h.mm.mmap(0, h.size, PROT_READ, ANON)
        h.ok(await h.fd.read(a, 1), 1)
        assert (await h.fd.write(a, ints(h.size))).ret == -errno.EPERM
        await h.cpu(a, bytes(h.size))
        await h.mm.mprotect(a, h.size, RW)
        h.ok(await h.fd.write(a, ints(h.size)), h.npages)
        await h.cpu(a, ints(h.size))

    hmm(v, body)


@variants
@pytest.mark.parametrize("migrate", [False, True], ids=["", "migrate"])
@pytest.mark.parametrize("use_thp", [False, True], ids=["", "thp"])
def test_anon_write_child(v: Variant, use_thp: bool, migrate: bool) -> None:
    async def body(h: Hmm) -> None:
        size = HUGE if use_thp else h.size
        if use_thp:
            _, a = await h.huge()
        else:
            a = await h.mm.mmap(0, 2 * size, RW, ANON)
        await h.mm.store(a, ints(size))
        part = min(size, h.size) if v.rtl else size
        mirror = ints(part, sign=-1)
        if migrate:
            await h.to_dev(a, size, ints(size))
            mirror = ints(part)  # the command returned what the device read
        child = await h.mm.fork()
        await h.cpu(a, ints(size), child)
        child_fd = await h.devices[0].open(child)
        h.ok(await child_fd.write(a, mirror), part // PAGE)
        if not migrate:
            await h.cpu(a, mirror, child)
        await child_fd.close()
        await child.exit()
        await h.cpu(a, ints(size))

    hmm(v, body, pages=HUGE // PAGE if use_thp else 0)


@variants
def test_anon_write_child_shared(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        a = await h.filled(flags=MAP_SHARED | MAP_ANONYMOUS)
        child = await h.mm.fork()
        await h.cpu(a, ints(h.size), child)
        child_fd = await h.devices[0].open(child)
        h.ok(await child_fd.write(a, ints(h.size, sign=-1)), h.npages)
        await h.cpu(a, ints(h.size, sign=-1), child)
        await child_fd.close()
        await child.exit()
        await h.cpu(a, ints(h.size, sign=-1))

    hmm(v, body)


@variants
def test_anon_write_huge(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        _, a = await h.huge()
        h.ok(await h.fd.write(a, ints(HUGE)), HUGE // PAGE)
        assert h.mm.pte(a).order == 9
        await h.cpu(a, ints(HUGE))

    hmm(v, body)


@variants
def test_anon_write_hugetlbfs(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        pool = HugetlbPool(h.phys, 1)
        a = await h.mm.mmap(0, HUGE, RW, ANON | MAP_HUGETLB)
        h.ok(await h.fd.write(a, ints(HUGE)), HUGE // PAGE)
        assert h.mm.pte(a).order == 9 and not pool.free
        await h.cpu(a, ints(HUGE))
        await h.mm.munmap(a, HUGE)
        pool.close()

    hmm(v, body)


@variants
def test_file_read(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        f = File(h.m.phys, size=h.size, shmem=True)
        assert await f.write(0, ints(h.size)) == h.size
        a = await h.mm.mmap(0, h.size, PROT_READ, MAP_SHARED, f)
        assert h.ok(await h.fd.read(a, h.npages), h.npages) == ints(h.size)
        await h.mm.munmap(a, h.size)
        await f.put()

    hmm(v, body)


@variants
def test_file_write(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        f = File(h.m.phys, size=h.size, shmem=True)
        a = await h.mm.mmap(0, h.size, RW, MAP_SHARED, f)
        h.ok(await h.fd.write(a, ints(h.size)), h.npages)
        await h.cpu(a, ints(h.size))
        assert await f.read(0, h.size) == ints(h.size)
        await h.mm.munmap(a, h.size)
        await f.put()

    hmm(v, body)


@variants
def test_migrate(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        a = await h.filled()
        await h.to_dev(a, h.size, ints(h.size))

    hmm(v, body)


@variants
def test_migrate_file_private(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        f = File(h.m.phys, size=h.size, shmem=True)
        a = await h.mm.mmap(0, h.size, RW, MAP_PRIVATE, f)
        await h.mm.store(a, ints(h.size))
        await h.to_dev(a, h.size, ints(h.size))
        await h.mm.munmap(a, h.size)
        await f.put()

    hmm(v, body)


@variants
def test_migrate_fault(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        a = await h.filled()
        await h.to_dev(a, h.size, ints(h.size))
        await h.cpu(a, ints(h.size // 2))
        await h.to_dev(a, h.size, ints(h.size))

    hmm(v, body)


@variants
def test_migrate_release(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        a = await h.filled()
        await h.to_dev(a, h.size, ints(h.size))
        assert (await h.fd.release()).ret == 0
        assert len(h.devices[0].pagemap.free) == h.npages
        await h.cpu(a, ints(h.size // 2))

    hmm(v, body)


@variants
def test_migrate_shared(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        a = await h.mm.mmap(0, h.size, RW, MAP_SHARED | MAP_ANONYMOUS)
        assert (await h.fd.migrate_to_dev(a, h.npages)).ret == -errno.ENOENT

    hmm(v, body)


async def _mixed(h: Hmm, npages: int) -> int:
    """PROT_NONE, a hole, the zero page, a read-only page, then read-write ones; 3 is in the written ones."""
    mm = h.mm
    p = await mm.mmap(0, npages * PAGE, PROT_NONE, ANON)
    await mm.munmap(p + PAGE, PAGE)
    await mm.mprotect(p + 2 * PAGE, PAGE, PROT_READ)
    await h.cpu(p + 2 * PAGE, bytes(4))
    await mm.mprotect(p + 3 * PAGE, PAGE, RW)
    await mm.store(p + 3 * PAGE, b"\3\0\0\0")
    await mm.mprotect(p + 3 * PAGE, PAGE, PROT_READ)
    await mm.mprotect(p + 4 * PAGE, (npages - 4) * PAGE, RW)
    await mm.store(p + 4 * PAGE, b"\3\0\0\0")
    return p


@variants
def test_migrate_mixed(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        fd0, fd1 = h.fds
        q = await h.mm.mmap(0, 6 * PAGE, PROT_NONE, ANON)
        assert (await fd1.migrate_to_dev(q, 6)).ret == -errno.EINVAL
        await h.mm.munmap(q, 6 * PAGE)
        p = await _mixed(h, 6)
        assert (await fd1.migrate_to_dev(p, 3)).ret == -errno.EINVAL
        await h.mm.store(p + 5 * PAGE, b"\3\0\0\0")
        cmd = await fd1.migrate_to_dev(p + 2 * PAGE, 4)
        assert (cmd.ret, cmd.cpages) == (0, 4)
        assert (await fd0.migrate_to_dev(p + 5 * PAGE, 1)).ret == -errno.ENOENT

    hmm(v, body, n=2)


@variants
def test_migrate_multiple(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        for _ in range(h.ntimes):
            a = await h.filled()
            await h.to_dev(a, h.size, ints(h.size))
            if h.coherent:
                cmd = await h.fd.migrate_to_sys(a, h.npages)
                assert (cmd.ret, cmd.cpages) == (0, h.npages)
            await h.cpu(a, ints(h.size))
            await h.mm.munmap(a, h.size)

    hmm(v, body)


@variants
def test_anon_read_multiple(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        for c in range(h.ntimes):
            a = await h.filled(first=c)
            assert h.ok(await h.fd.read(a, h.npages), h.npages) == ints(h.size, c)
            await h.mm.munmap(a, h.size)

    hmm(v, body)


@variants
def test_anon_teardown(v: Variant) -> None:
    results = []

    async def body(h: Hmm) -> None:
        for c in range(h.ntimes):
            a = await h.filled(first=c)

            async def unmap_buffer(a: int = a, c: int = c) -> None:
                if c & 1:
                    await sleep(400_000)
                await h.mm.munmap(a + h.size // 2, h.size // 2)

            thread = h.m.sched.spawn(unmap_buffer(), "unmap_buffer")
            cmd = await h.fd.read(a, h.npages)
            results.append(cmd.ret)
            if cmd.ret == 0:
                assert h.ok(cmd, h.npages) == ints(h.size, c)
            await thread.join()
            await h.mm.munmap(a, h.size // 2)

    hmm(v, body, seed=4)
    assert set(results) == {0, -errno.EFAULT}, "both orders are met"


@variants
def test_mixedmap(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        a = await h.fd.mmap(1)
        cmd = await h.fd.snapshot(a, 1)
        assert (cmd.ret, cmd.cpages) == (0, 1)
        assert cmd.data[0] == dm.PROT_READ

    hmm(v, body)


@variants
def test_snapshot(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        fd0, fd1 = h.fds
        p = await _mixed(h, 7)
        for fd, at in ((fd0, p + 5 * PAGE), (fd1, p + 6 * PAGE)):
            cmd = await fd.migrate_to_dev(at, 1)
            assert (cmd.ret, cmd.cpages) == (0, 1)
        cmd = await fd0.snapshot(p, 7)
        assert (cmd.ret, cmd.cpages) == (0, 7)
        m = list(cmd.data)
        assert m[:5] == [
            dm.PROT_ERROR, dm.PROT_ERROR, dm.PROT_ZERO | dm.PROT_READ, dm.PROT_READ, dm.PROT_WRITE,
        ]  # fmt: skip
        if h.coherent:
            assert m[5] == dm.PROT_DEV_COHERENT_LOCAL | dm.PROT_WRITE
            assert m[6] == dm.PROT_DEV_COHERENT_REMOTE | dm.PROT_WRITE
        else:
            assert m[5] == dm.PROT_DEV_PRIVATE_LOCAL | dm.PROT_WRITE
            assert m[6] == dm.PROT_NONE

    hmm(v, body, n=2)


@variants
def test_compound(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        pool = HugetlbPool(h.phys, 1)
        a = await h.mm.mmap(0, HUGE, RW, ANON | MAP_HUGETLB)
        await h.mm.store(a, ints(HUGE))
        for prot, want in ((RW, dm.PROT_WRITE), (PROT_READ, dm.PROT_READ)):
            await h.mm.mprotect(a, HUGE, prot)
            cmd = await h.fd.snapshot(a, HUGE // PAGE)
            assert (cmd.ret, cmd.cpages) == (0, HUGE // PAGE)
            assert set(cmd.data) == {want | dm.PROT_PMD}
        assert (await h.fd.read(a, 4)).data == ints(4 * PAGE)
        await h.mm.munmap(a, HUGE)
        pool.close()

    hmm(v, body)


@variants
def test_double_map(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        fd0, fd1 = h.fds
        a = await h.filled(6 * PAGE)
        await h.mm.mprotect(a, 6 * PAGE, PROT_READ)
        assert h.ok(await fd0.read(a, 6), 6) == ints(6 * PAGE)
        assert h.ok(await fd1.read(a, 6), 6) == ints(6 * PAGE)
        await h.to_dev(a, 6 * PAGE, ints(6 * PAGE), fd1)
        assert h.ok(await fd0.read(a, 6), 6) == ints(6 * PAGE)

    hmm(v, body, n=2)


@variants
def test_exclusive(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        a = await h.filled()
        cmd = await h.fd.exclusive(a, h.npages)
        assert (cmd.ret, cmd.cpages) == (0, h.npages)
        assert cmd.data == ints(h.size)
        assert (await h.fd.check_exclusive(a, h.npages)).ret == -errno.EPERM
        await h.cpu(a, ints(h.size))
        await h.mm.store(a, ints(h.size, 1))
        await h.cpu(a, ints(h.size, 1))
        assert (await h.fd.check_exclusive(a, h.npages)).ret == 0

    hmm(v, body)


@variants
def test_exclusive_mprotect(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        a = await h.filled()
        cmd = await h.fd.exclusive(a, h.npages)
        assert (cmd.ret, cmd.cpages) == (0, h.npages)
        assert cmd.data == ints(h.size)
        await h.mm.mprotect(a, h.size, PROT_READ)
        assert (await h.fd.write(a, ints(h.size))).ret == -errno.EPERM

    hmm(v, body)


@variants
def test_exclusive_cow(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        a = await h.filled()
        cmd = await h.fd.exclusive(a, h.npages)
        assert (cmd.ret, cmd.cpages) == (0, h.npages)
        child = await h.mm.fork()
        for mm in (h.mm, child):
            await h.cpu(a, ints(h.size), mm)
            await mm.store(a, ints(h.size, 1))
            await h.cpu(a, ints(h.size, 1), mm)
        await child.exit()

    hmm(v, body)


@variants
def test_hmm_gup_test(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        a = await h.filled(4 * PAGE)
        await h.to_dev(a, 4 * PAGE, ints(4 * PAGE))
        pins = await gup.get_user_pages(h.mm, a, 1, gup.FOLL_WRITE)
        pins += await gup.get_user_pages_fast(h.mm, a + PAGE, 1, gup.FOLL_WRITE)
        longterm = gup.FOLL_WRITE | gup.FOLL_LONGTERM
        pins += await gup.get_user_pages_fast(h.mm, a + 2 * PAGE, 1, longterm)
        pins += await gup.get_user_pages(h.mm, a + 3 * PAGE, 1, longterm)
        cmd = await h.fd.snapshot(a, 4)
        assert (cmd.ret, cmd.cpages) == (0, 4)
        short = dm.PROT_WRITE | (dm.PROT_DEV_COHERENT_LOCAL if h.coherent else 0)
        assert list(cmd.data) == [short, short, dm.PROT_WRITE, dm.PROT_WRITE]
        assert pins == [h.mm.pte(a + i * PAGE).pfn for i in range(4)]
        gup.put_user_pages(h.phys, pins)
        await h.cpu(a, ints(4 * PAGE))
        assert (await h.fd.read(a, 4)).data == ints(4 * PAGE)

    hmm(v, body)


@variants
def test_hmm_cow_in_device(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        a = await h.filled(4 * PAGE)
        await h.to_dev(a, 4 * PAGE, ints(4 * PAGE))
        child = await h.mm.fork()
        await h.mm.store(a, ints(4 * PAGE))
        await child.exit()
        cmd = await h.fd.snapshot(a, 4)
        assert (cmd.ret, cmd.cpages) == (0, 4)
        assert list(cmd.data) == [dm.PROT_WRITE] * 4

    hmm(v, body)


@variants
def test_migrate_anon_huge_empty(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        _, a = await h.huge(prot=PROT_READ)
        await h.to_dev(a, HUGE, bytes(HUGE))
        assert h.mm.pte(a).order == 9, "a 2-MiB page of the device"

    hmm(v, body, pages=HUGE // PAGE)


@variants
def test_migrate_anon_huge_zero(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        _, a = await h.huge(prot=PROT_READ)
        await h.cpu(a, bytes(4))
        await h.to_dev(a, HUGE, bytes(HUGE))
        assert h.mm.pte(a).order == 9, "a 2-MiB page of the device"
        await h.cpu(a, bytes(HUGE))

    hmm(v, body, pages=HUGE // PAGE)


@variants
def test_migrate_anon_huge_free(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        _, a = await h.huge()
        await h.mm.store(a, ints(HUGE))
        await h.to_dev(a, HUGE, ints(HUGE))
        assert h.mm.pte(a).order == 9, "a 2-MiB page of the device"
        await h.mm.madvise(a, HUGE, MADV_FREE)

    hmm(v, body, pages=HUGE // PAGE)


@variants
def test_migrate_anon_huge_fault(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        _, a = await h.huge()
        await h.mm.store(a, ints(HUGE))
        await h.to_dev(a, HUGE, ints(HUGE))
        assert h.mm.pte(a).order == 9, "a 2-MiB page of the device"
        await h.cpu(a, ints(HUGE))

    hmm(v, body, pages=HUGE // PAGE)


@variants
def test_migrate_anon_huge_err(v: Variant) -> None:
    """The allocation of a 2-MiB page fails, on the way to the device and on the way back: small pages."""

    async def body(h: Hmm) -> None:
        old, a = await h.huge()
        await h.mm.store(a, ints(HUGE))
        h.fd.flags = dm.FLAG_FAIL_ALLOC
        await h.to_dev(a, HUGE, ints(HUGE))
        assert h.fd.flags == 0 and h.mm.pte(a).order == 0
        await h.cpu(a + 2 * PAGE, ints(PAGE, 2048))
        await h.mm.munmap(old, 2 * HUGE)
        old, a = await h.huge()
        await h.mm.store(a, ints(HUGE))
        await h.to_dev(a, HUGE, ints(HUGE))
        assert h.mm.pte(a).order == 9, "the device has a 2-MiB page"
        h.fd.flags = dm.FLAG_FAIL_ALLOC
        cmd = await h.fd.migrate_to_sys(a, HUGE // PAGE)
        assert (cmd.ret, cmd.cpages) == (0, HUGE // PAGE)
        assert h.fd.flags == 0
        pte = h.mm.pte(a)
        assert (pte.kind, pte.order) == (PteKind.PRESENT, 0)
        await h.cpu(a, ints(HUGE))

    hmm(v, body, pages=HUGE // PAGE)


@variants
def test_migrate_anon_huge_zero_err(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        for touch in (False, True):
            old, a = await h.huge(prot=PROT_READ)
            if touch:
                await h.cpu(a, bytes(4))
            h.fd.flags = dm.FLAG_FAIL_ALLOC
            await h.to_dev(a, HUGE, bytes(HUGE))
            assert h.fd.flags == 0 and h.mm.pte(a).order == 0
            await h.cpu(a, bytes(HUGE))
            await h.mm.munmap(old, 2 * HUGE)

    hmm(v, body, pages=HUGE // PAGE)


THP = pytest.mark.parametrize("advice", [MADV_NOHUGEPAGE, MADV_HUGEPAGE], ids=["", "thp"])
OFFSETS = (0, 512 << 10, 1 << 20)


@variants
@THP
def test_migrate_partial_unmap_fault(v: Variant, advice: int) -> None:
    async def body(h: Hmm) -> None:
        for off in OFFSETS[1:2] if v.rtl else OFFSETS:
            old, a = await h.huge(advice)
            await h.mm.store(a, ints(HUGE))
            await h.to_dev(a, HUGE, ints(HUGE))
            await h.mm.munmap(a + off, 1 << 20)
            await h.cpu(a, ints(HUGE)[:off])
            await h.cpu(a + off + (1 << 20), ints(HUGE)[off + (1 << 20) :])
            await h.mm.munmap(old, 2 * HUGE)

    hmm(v, body, pages=HUGE // PAGE)


@variants
@THP
@pytest.mark.parametrize("dont_unmap", [False, True], ids=["", "dontunmap"])
@pytest.mark.parametrize("before", [False, True], ids=["", "before"])
def test_migrate_remap_fault(v: Variant, advice: int, dont_unmap: bool, before: bool) -> None:
    flags = MREMAP_MAYMOVE | MREMAP_FIXED | (MREMAP_DONTUNMAP if dont_unmap else 0)

    async def body(h: Hmm) -> None:
        for off in OFFSETS[1:2] if v.rtl else OFFSETS:
            old, a = await h.huge(advice, nr=8)
            await h.mm.munmap(a + HUGE, 2 * HUGE)
            await h.mm.store(a, ints(HUGE))
            at = a
            if before:
                at = await h.mm.mremap(a, HUGE, HUGE, flags, a + HUGE + off)
            await h.to_dev(at, HUGE, ints(HUGE))
            if not before:
                at = await h.mm.mremap(a, HUGE, HUGE, flags, a + HUGE + off)
            await h.cpu(at, ints(HUGE))
            await h.mm.munmap(at, HUGE)
            await h.mm.munmap(old, 8 * HUGE)

    hmm(v, body, pages=HUGE // PAGE)


@variants
def test_benchmark_thp_migration(v: Variant) -> None:
    """The kernel prints times; here every step succeeds and nothing is lost."""

    async def body(h: Hmm) -> None:
        for advice in (MADV_HUGEPAGE, MADV_NOHUGEPAGE):
            for _ in range(1 if v.rtl else 2):
                old, a = await h.huge(advice)
                await h.mm.store(a, ints(HUGE))
                await h.to_dev(a, HUGE, ints(HUGE))
                cmd = await h.fd.migrate_to_sys(a, HUGE // PAGE)
                assert (cmd.ret, cmd.cpages) == (0, HUGE // PAGE)
                assert h.mm.pte(a).kind is PteKind.PRESENT
                await h.cpu(a, ints(HUGE))
                await h.mm.munmap(old, 2 * HUGE)

    hmm(v, body, pages=HUGE // PAGE)


@variants
def test_userfaultfd_read(v: Variant) -> None:
    async def body(h: Hmm) -> None:
        a = await h.mm.mmap(0, h.size, RW, ANON)
        uffd = Userfaultfd(h.mm)
        await uffd.register(a, h.size)

        async def handler() -> int:
            served = 0
            while (at := await uffd.read()) is not None:
                await uffd.copy(at, b"\xab" * PAGE)
                served += 1
            return served

        thread = h.m.sched.spawn(handler(), "uffd handler")
        assert (await h.fd.read(a, 1)).ret == -errno.EFAULT, "a fault that keeps mmap_lock cannot be served"
        assert h.ok(await h.fd.read_unlocked(a, h.npages), h.npages) == b"\xab" * h.size
        await uffd.close()
        assert await thread.join() == h.npages
        await h.cpu(a, b"\xab" * h.size)

    hmm(v, body)
