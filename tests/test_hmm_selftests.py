"""The kernel's HMM tests (tools/testing/selftests/mm/hmm-tests.c) on the model of its test device.

Each case has its own name and asserts what the kernel's asserts, for private and for coherent device memory,
and besides: every entry changes inside an invalidation, nothing leaks, every count adds up at the end.
Cases that are not here, and why:

- anon_write_hugetlbfs, compound: the model has no hugetlb memory.
- hmm_gup_test: the model has no get_user_pages that pins (basic, fast, longterm).
- migrate_anon_huge_err, migrate_anon_huge_zero_err: they fail the allocation of a 2-MiB device page; device
  memory has 4-KiB pages only, a huge page is split when it is migrated.
- benchmark_thp_migration: prints times and asserts nothing but success.
- userfaultfd_read: the model has no userfaultfd.

Where the kernel uses transparent huge pages the model maps 2 MiB for the CPU too; the huge zero page is not
modelled, so migrate_anon_huge_zero reads a 2-MiB page of zeros.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from sw_model import dmirror as dm
from sw_model.devmem import MEMORY_DEVICE_COHERENT, MEMORY_DEVICE_PRIVATE
from sw_model.dmirror import Dmirror, DmirrorDevice
from sw_model.mm import (
    MADV_FREE,
    MADV_HUGEPAGE,
    MADV_NOHUGEPAGE,
    MAP_ANONYMOUS,
    MAP_PRIVATE,
    MAP_SHARED,
    MREMAP_DONTUNMAP,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    PROT_NONE,
    PROT_READ,
    File,
    MmStruct,
)
from sw_model.sched import sleep
from tests.mm_helpers import ANON, HUGE, PAGE, RW, Machine

NPAGES = 256  # HMM_BUFFER_SIZE, 1 MiB
SIZE = NPAGES * PAGE
NTIMES = 10
KINDS = {"device_private": MEMORY_DEVICE_PRIVATE, "device_coherent": MEMORY_DEVICE_COHERENT}
variants = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


class Hmm:
    """The fixture: a process, `n` devices, each opened once. `fd` is the first one."""

    def __init__(self, kind: int, n: int, pages: int, seed: int | None) -> None:
        self.kind = kind
        self.m = Machine(24, seed=seed)
        self.mm = MmStruct(self.m.phys)
        self.devices = [DmirrorDevice(self.m.phys, pages, kind) for _ in range(n)]
        self.fds: list[Dmirror] = []

    @property
    def fd(self) -> Dmirror:
        return self.fds[0]

    @property
    def coherent(self) -> bool:
        return self.kind == MEMORY_DEVICE_COHERENT

    async def run(self, body: Callable[[Hmm], Awaitable[Any]]) -> None:
        await self.m.rec.watch(self.mm)
        self.fds = [await Dmirror.open(d, self.mm) for d in self.devices]
        await body(self)
        for fd in self.fds:
            await fd.close()
        for d in self.devices:
            d.close()
        await self.m.finish(self.mm)

    async def filled(self, size: int = SIZE, flags: int = ANON, first: int = 0) -> int:
        """A read-write mapping that holds the integers from `first`."""
        a = await self.mm.mmap(0, size, RW, flags)
        await self.mm.store(a, ints(size, first))
        return a

    async def huge(self, advice: int = MADV_HUGEPAGE, prot: int = RW, nr: int = 2) -> tuple[int, int]:
        """A mapping of `nr` huge pages, and the aligned 2 MiB of it that got the advice."""
        a = await self.mm.mmap(0, nr * HUGE, prot, ANON)
        at = (a + HUGE - 1) & -HUGE
        await self.mm.madvise(at, HUGE, advice)
        return a, at

    async def to_dev(self, addr: int, size: int, data: bytes, fd: Dmirror | None = None) -> None:
        """hmm_migrate_sys_to_dev() of everything; the device sees `data`."""
        cmd = await (fd or self.fd).migrate_to_dev(addr, size // PAGE)
        assert (cmd.ret, cmd.cpages) == (0, size // PAGE)
        assert cmd.data == data

    async def cpu(self, addr: int, data: bytes, mm: MmStruct | None = None) -> None:
        """The CPU sees `data`."""
        assert await (mm or self.mm).load(addr, len(data)) == data


def ints(size: int, first: int = 0, sign: int = 1) -> bytes:
    """`size` bytes of consecutive 32-bit integers, or of their negatives."""
    return (sign * np.arange(first, first + size // 4, dtype=np.int32)).tobytes()


def hmm(
    kind: int, body: Callable[[Hmm], Awaitable[Any]], n: int = 1, pages: int = NPAGES, seed: int | None = None
) -> None:
    h = Hmm(kind, n, pages, seed)
    h.m.run(lambda: h.run(body))


def ok(cmd: dm.Command, npages: int, faults: int = 1) -> bytes:
    """The command did all pages; with `faults` calls of the fault path."""
    assert (cmd.ret, cmd.cpages, cmd.faults) == (0, npages, faults)
    return cmd.data


@variants
def test_open_close(kind: int) -> None:
    async def body(h: Hmm) -> None:
        assert h.mm.mm_count > 1

    hmm(kind, body)


@variants
def test_anon_read(kind: int) -> None:
    async def body(h: Hmm) -> None:
        a = await h.mm.mmap(0, SIZE, RW, ANON)
        await h.mm.store(a + 2 * PAGE, ints(SIZE)[2 * PAGE :])
        await h.mm.mprotect(a, SIZE, PROT_READ)
        await h.cpu(a + PAGE, bytes(4))
        data = ok(await h.fd.read(a, NPAGES), NPAGES)
        assert data[: 2 * PAGE] == bytes(2 * PAGE)
        assert data[2 * PAGE :] == ints(SIZE)[2 * PAGE :]

    hmm(kind, body)


@variants
def test_anon_read_prot(kind: int) -> None:
    async def body(h: Hmm) -> None:
        a = await h.filled()
        await h.mm.mprotect(a, SIZE, PROT_NONE)
        cmd = await h.fd.read(a, NPAGES)
        assert cmd.ret == -errno.EFAULT and cmd.data == b""
        await h.mm.mprotect(a, SIZE, PROT_READ)
        await h.cpu(a, ints(SIZE))

    hmm(kind, body)


@variants
def test_anon_write(kind: int) -> None:
    async def body(h: Hmm) -> None:
        a = await h.mm.mmap(0, SIZE, RW, ANON)
        ok(await h.fd.write(a, ints(SIZE)), NPAGES)
        await h.cpu(a, ints(SIZE))

    hmm(kind, body)


@variants
def test_anon_write_prot(kind: int) -> None:
    async def body(h: Hmm) -> None:
        a = await h.mm.mmap(0, SIZE, PROT_READ, ANON)
        ok(await h.fd.read(a, 1), 1)
        assert (await h.fd.write(a, ints(SIZE))).ret == -errno.EPERM
        await h.cpu(a, bytes(SIZE))
        await h.mm.mprotect(a, SIZE, RW)
        ok(await h.fd.write(a, ints(SIZE)), NPAGES)
        await h.cpu(a, ints(SIZE))

    hmm(kind, body)


@variants
@pytest.mark.parametrize("migrate", [False, True], ids=["", "migrate"])
@pytest.mark.parametrize("use_thp", [False, True], ids=["", "thp"])
def test_anon_write_child(kind: int, use_thp: bool, migrate: bool) -> None:
    size = HUGE if use_thp else SIZE

    async def body(h: Hmm) -> None:
        if use_thp:
            _, a = await h.huge()
        else:
            a = await h.mm.mmap(0, 2 * size, RW, ANON)
        await h.mm.store(a, ints(size))
        mirror = ints(size, sign=-1)
        if migrate:
            await h.to_dev(a, size, ints(size))
            mirror = ints(size)  # the command returned what the device read
        child = await h.mm.fork()
        await h.cpu(a, ints(size), child)
        child_fd = await Dmirror.open(h.devices[0], child)
        ok(await child_fd.write(a, mirror), size // PAGE)
        if not migrate:
            await h.cpu(a, mirror, child)
        await child_fd.close()
        await child.exit()
        await h.cpu(a, ints(size))

    hmm(kind, body, pages=size // PAGE)


@variants
def test_anon_write_child_shared(kind: int) -> None:
    async def body(h: Hmm) -> None:
        a = await h.filled(flags=MAP_SHARED | MAP_ANONYMOUS)
        child = await h.mm.fork()
        await h.cpu(a, ints(SIZE), child)
        child_fd = await Dmirror.open(h.devices[0], child)
        ok(await child_fd.write(a, ints(SIZE, sign=-1)), NPAGES)
        await h.cpu(a, ints(SIZE, sign=-1), child)
        await child_fd.close()
        await child.exit()
        await h.cpu(a, ints(SIZE, sign=-1))

    hmm(kind, body)


@variants
def test_anon_write_huge(kind: int) -> None:
    async def body(h: Hmm) -> None:
        _, a = await h.huge()
        ok(await h.fd.write(a, ints(HUGE)), HUGE // PAGE)
        assert h.mm.pte(a).order == 9
        await h.cpu(a, ints(HUGE))

    hmm(kind, body)


@variants
def test_file_read(kind: int) -> None:
    async def body(h: Hmm) -> None:
        f = File(h.m.phys, size=SIZE, shmem=True)
        assert await f.write(0, ints(SIZE)) == SIZE
        a = await h.mm.mmap(0, SIZE, PROT_READ, MAP_SHARED, f)
        assert ok(await h.fd.read(a, NPAGES), NPAGES) == ints(SIZE)
        await h.mm.munmap(a, SIZE)
        await f.put()

    hmm(kind, body)


@variants
def test_file_write(kind: int) -> None:
    async def body(h: Hmm) -> None:
        f = File(h.m.phys, size=SIZE, shmem=True)
        a = await h.mm.mmap(0, SIZE, RW, MAP_SHARED, f)
        ok(await h.fd.write(a, ints(SIZE)), NPAGES)
        await h.cpu(a, ints(SIZE))
        assert await f.read(0, SIZE) == ints(SIZE)
        await h.mm.munmap(a, SIZE)
        await f.put()

    hmm(kind, body)


@variants
def test_migrate(kind: int) -> None:
    async def body(h: Hmm) -> None:
        a = await h.filled()
        await h.to_dev(a, SIZE, ints(SIZE))

    hmm(kind, body)


@variants
def test_migrate_file_private(kind: int) -> None:
    async def body(h: Hmm) -> None:
        f = File(h.m.phys, size=SIZE, shmem=True)
        a = await h.mm.mmap(0, SIZE, RW, MAP_PRIVATE, f)
        await h.mm.store(a, ints(SIZE))
        await h.to_dev(a, SIZE, ints(SIZE))
        await h.mm.munmap(a, SIZE)
        await f.put()

    hmm(kind, body)


@variants
def test_migrate_fault(kind: int) -> None:
    async def body(h: Hmm) -> None:
        a = await h.filled()
        await h.to_dev(a, SIZE, ints(SIZE))
        await h.cpu(a, ints(SIZE // 2))
        await h.to_dev(a, SIZE, ints(SIZE))

    hmm(kind, body)


@variants
def test_migrate_release(kind: int) -> None:
    async def body(h: Hmm) -> None:
        a = await h.filled()
        await h.to_dev(a, SIZE, ints(SIZE))
        assert (await h.fd.release()).ret == 0
        assert len(h.devices[0].pagemap.free) == NPAGES
        await h.cpu(a, ints(SIZE // 2))

    hmm(kind, body)


@variants
def test_migrate_shared(kind: int) -> None:
    async def body(h: Hmm) -> None:
        a = await h.mm.mmap(0, SIZE, RW, MAP_SHARED | MAP_ANONYMOUS)
        assert (await h.fd.migrate_to_dev(a, NPAGES)).ret == -errno.ENOENT

    hmm(kind, body)


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
def test_migrate_mixed(kind: int) -> None:
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

    hmm(kind, body, n=2)


@variants
def test_migrate_multiple(kind: int) -> None:
    async def body(h: Hmm) -> None:
        for _ in range(NTIMES):
            a = await h.filled()
            await h.to_dev(a, SIZE, ints(SIZE))
            if h.coherent:
                cmd = await h.fd.migrate_to_sys(a, NPAGES)
                assert (cmd.ret, cmd.cpages) == (0, NPAGES)
            await h.cpu(a, ints(SIZE))
            await h.mm.munmap(a, SIZE)

    hmm(kind, body)


@variants
def test_anon_read_multiple(kind: int) -> None:
    async def body(h: Hmm) -> None:
        for c in range(NTIMES):
            a = await h.filled(first=c)
            assert ok(await h.fd.read(a, NPAGES), NPAGES) == ints(SIZE, c)
            await h.mm.munmap(a, SIZE)

    hmm(kind, body)


@variants
def test_anon_teardown(kind: int) -> None:
    results = []

    async def body(h: Hmm) -> None:
        for c in range(NTIMES):
            a = await h.filled(first=c)

            async def unmap_buffer(a: int = a, c: int = c) -> None:
                if c & 1:
                    await sleep(1)
                await h.mm.munmap(a + SIZE // 2, SIZE // 2)

            thread = h.m.sched.spawn(unmap_buffer(), "unmap_buffer")
            cmd = await h.fd.read(a, NPAGES)
            results.append(cmd.ret)
            if cmd.ret == 0:
                assert ok(cmd, NPAGES) == ints(SIZE, c)
            await thread.join()
            await h.mm.munmap(a, SIZE // 2)

    hmm(kind, body, seed=4)
    assert set(results) == {0, -errno.EFAULT}, "both orders are met"


@variants
def test_mixedmap(kind: int) -> None:
    async def body(h: Hmm) -> None:
        a = await h.fd.mmap(1)
        cmd = await h.fd.snapshot(a, 1)
        assert (cmd.ret, cmd.cpages) == (0, 1)
        assert cmd.data[0] == dm.PROT_READ

    hmm(kind, body)


@variants
def test_snapshot(kind: int) -> None:
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

    hmm(kind, body, n=2)


@variants
def test_double_map(kind: int) -> None:
    async def body(h: Hmm) -> None:
        fd0, fd1 = h.fds
        a = await h.filled(6 * PAGE)
        await h.mm.mprotect(a, 6 * PAGE, PROT_READ)
        assert ok(await fd0.read(a, 6), 6) == ints(6 * PAGE)
        assert ok(await fd1.read(a, 6), 6) == ints(6 * PAGE)
        await h.to_dev(a, 6 * PAGE, ints(6 * PAGE), fd1)
        assert ok(await fd0.read(a, 6), 6) == ints(6 * PAGE)

    hmm(kind, body, n=2)


@variants
def test_exclusive(kind: int) -> None:
    async def body(h: Hmm) -> None:
        a = await h.filled()
        cmd = await h.fd.exclusive(a, NPAGES)
        assert (cmd.ret, cmd.cpages) == (0, NPAGES)
        assert cmd.data == ints(SIZE)
        assert (await h.fd.check_exclusive(a, NPAGES)).ret == -errno.EPERM
        await h.cpu(a, ints(SIZE))
        await h.mm.store(a, ints(SIZE, 1))
        await h.cpu(a, ints(SIZE, 1))
        assert (await h.fd.check_exclusive(a, NPAGES)).ret == 0

    hmm(kind, body)


@variants
def test_exclusive_mprotect(kind: int) -> None:
    async def body(h: Hmm) -> None:
        a = await h.filled()
        cmd = await h.fd.exclusive(a, NPAGES)
        assert (cmd.ret, cmd.cpages) == (0, NPAGES)
        assert cmd.data == ints(SIZE)
        await h.mm.mprotect(a, SIZE, PROT_READ)
        assert (await h.fd.write(a, ints(SIZE))).ret == -errno.EPERM

    hmm(kind, body)


@variants
def test_exclusive_cow(kind: int) -> None:
    async def body(h: Hmm) -> None:
        a = await h.filled()
        cmd = await h.fd.exclusive(a, NPAGES)
        assert (cmd.ret, cmd.cpages) == (0, NPAGES)
        child = await h.mm.fork()
        for mm in (h.mm, child):
            await h.cpu(a, ints(SIZE), mm)
            await mm.store(a, ints(SIZE, 1))
            await h.cpu(a, ints(SIZE, 1), mm)
        await child.exit()

    hmm(kind, body)


@variants
def test_hmm_cow_in_device(kind: int) -> None:
    async def body(h: Hmm) -> None:
        a = await h.filled(4 * PAGE)
        await h.to_dev(a, 4 * PAGE, ints(4 * PAGE))
        child = await h.mm.fork()
        await h.mm.store(a, ints(4 * PAGE))
        await child.exit()
        cmd = await h.fd.snapshot(a, 4)
        assert (cmd.ret, cmd.cpages) == (0, 4)
        assert list(cmd.data) == [dm.PROT_WRITE] * 4

    hmm(kind, body)


@variants
def test_migrate_anon_huge_empty(kind: int) -> None:
    async def body(h: Hmm) -> None:
        _, a = await h.huge(prot=PROT_READ)
        await h.to_dev(a, HUGE, bytes(HUGE))

    hmm(kind, body, pages=HUGE // PAGE)


@variants
def test_migrate_anon_huge_zero(kind: int) -> None:
    async def body(h: Hmm) -> None:
        _, a = await h.huge(prot=PROT_READ)
        await h.cpu(a, bytes(4))
        await h.to_dev(a, HUGE, bytes(HUGE))
        await h.cpu(a, bytes(HUGE))

    hmm(kind, body, pages=HUGE // PAGE)


@variants
def test_migrate_anon_huge_free(kind: int) -> None:
    async def body(h: Hmm) -> None:
        _, a = await h.huge()
        await h.mm.store(a, ints(HUGE))
        await h.to_dev(a, HUGE, ints(HUGE))
        await h.mm.madvise(a, HUGE, MADV_FREE)

    hmm(kind, body, pages=HUGE // PAGE)


@variants
def test_migrate_anon_huge_fault(kind: int) -> None:
    async def body(h: Hmm) -> None:
        _, a = await h.huge()
        await h.mm.store(a, ints(HUGE))
        await h.to_dev(a, HUGE, ints(HUGE))
        await h.cpu(a, ints(HUGE))

    hmm(kind, body, pages=HUGE // PAGE)


THP = pytest.mark.parametrize("advice", [MADV_NOHUGEPAGE, MADV_HUGEPAGE], ids=["", "thp"])
OFFSETS = (0, 512 << 10, 1 << 20)


@variants
@THP
def test_migrate_partial_unmap_fault(kind: int, advice: int) -> None:
    async def body(h: Hmm) -> None:
        for off in OFFSETS:
            old, a = await h.huge(advice)
            await h.mm.store(a, ints(HUGE))
            await h.to_dev(a, HUGE, ints(HUGE))
            await h.mm.munmap(a + off, 1 << 20)
            await h.cpu(a, ints(HUGE)[:off])
            await h.cpu(a + off + (1 << 20), ints(HUGE)[off + (1 << 20) :])
            await h.mm.munmap(old, 2 * HUGE)

    hmm(kind, body, pages=HUGE // PAGE)


@variants
@THP
@pytest.mark.parametrize("dont_unmap", [False, True], ids=["", "dontunmap"])
@pytest.mark.parametrize("before", [False, True], ids=["", "before"])
def test_migrate_remap_fault(kind: int, advice: int, dont_unmap: bool, before: bool) -> None:
    flags = MREMAP_MAYMOVE | MREMAP_FIXED | (MREMAP_DONTUNMAP if dont_unmap else 0)

    async def body(h: Hmm) -> None:
        for off in OFFSETS:
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

    hmm(kind, body, pages=HUGE // PAGE)
