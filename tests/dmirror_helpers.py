"""What the tests of device memory share: a process with mirrors, on the host's model or on Verilated RTL."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from sw_model.devmem import MEMORY_DEVICE_COHERENT, MEMORY_DEVICE_PRIVATE
from sw_model.dmirror import Command, Dmirror, DmirrorDevice
from sw_model.mm import MADV_HUGEPAGE, MmStruct
from sw_model.sched import RandomStrategy, Scheduler, point, sleep
from sw_model.svm_dmirror import SvmDmirror
from tb.dmirror_rtl import Rack
from tests.mm_helpers import ANON, HUGE, PAGE, RW, Machine, Recorder

KINDS = {"device_private": MEMORY_DEVICE_PRIVATE, "device_coherent": MEMORY_DEVICE_COHERENT}


class Variant(NamedTuple):
    """The kind of device memory, and whether the device is the RTL."""

    kind: int
    rtl: bool

    @property
    def coherent(self) -> bool:
        return self.kind == MEMORY_DEVICE_COHERENT


HOST_VARIANTS = {name: Variant(kind, False) for name, kind in KINDS.items()}
RTL_VARIANTS = {f"{name}-rtl": Variant(kind, True) for name, kind in KINDS.items()}
_ALL = {**HOST_VARIANTS, **RTL_VARIANTS}
variants = pytest.mark.parametrize("v", _ALL.values(), ids=_ALL.keys())
host_variants = pytest.mark.parametrize("v", HOST_VARIANTS.values(), ids=HOST_VARIANTS.keys())


class RtlMachine(Machine):
    """A Machine whose memory `n` Verilated devices reach; each has `pages` of device memory."""

    def __init__(self, n: int, pages: int, kind: int, mib: int, seed: int | None, **options: Any) -> None:
        strategy = None if seed is None else RandomStrategy(seed, switch=0.5)
        self.rack = Rack(n, mib, pages, kind, seed=seed or 1, strategy=strategy, **options)
        self.phys = self.rack.phys
        self.sched: Scheduler = self.rack.sched
        self.rec = Recorder(self.phys)

    def run(self, main: Callable[[], Awaitable]) -> Any:
        """As Machine.run; the oracles of the devices must be silent too."""
        out = self.rack.run(main)
        assert self.rec.errors == []
        return out


class Hmm:
    """The fixture: a process, `n` devices, each opened once. `fd` is the first one.

    The RTL moves fewer bytes: `npages` (HMM_BUFFER_SIZE is 256 pages) and `ntimes` are smaller there.
    """

    def __init__(self, v: Variant, n: int, pages: int, mib: int, seed: int | None, **options: Any) -> None:
        self.v = v
        self.coherent = v.coherent
        self.npages, self.ntimes = (64, 3) if v.rtl else (256, 10)
        self.size = self.npages * PAGE
        pages = pages or self.npages
        self.m: Machine
        self.devices: list[DmirrorDevice]
        if v.rtl:
            self.m = RtlMachine(n, pages, v.kind, mib, seed, **options)
            self.devices = list(self.m.rack.devices)
        else:
            self.m = Machine(mib, seed=seed)
            self.devices = [DmirrorDevice(self.m.phys, pages, v.kind) for _ in range(n)]
        self.phys = self.m.phys
        self.mm = MmStruct(self.m.phys)
        self.fds: list[Dmirror] = []

    @property
    def fd(self) -> Dmirror:
        return self.fds[0]

    async def run(self, body: Callable[[Hmm], Awaitable[Any]]) -> None:
        """Open, run the body, close and check that nothing is left."""
        await self.m.rec.watch(self.mm)
        self.fds = [await d.open(self.mm) for d in self.devices]
        await body(self)
        for fd in self.fds:
            await fd.close()
        for d in self.devices:
            d.close()
        if isinstance(self.m, RtlMachine):
            for device in self.m.rack.devices:
                await device.remove()
        await self.m.finish(self.mm)

    async def pause(self, ns: int) -> None:
        """Let others get on: time of the device on the RTL, a point on the host, where no time passes."""
        if self.v.rtl:
            await sleep(ns)
        else:
            await point("test")

    async def filled(self, size: int = 0, flags: int = ANON, first: int = 0) -> int:
        """A read-write mapping that holds the integers from `first`."""
        a = await self.mm.mmap(0, size or self.size, RW, flags)
        await self.mm.store(a, ints(size or self.size, first))
        return a

    async def huge(self, advice: int = MADV_HUGEPAGE, prot: int = RW, nr: int = 2) -> tuple[int, int]:
        """A mapping of `nr` huge pages, and the aligned 2 MiB of it that got the advice."""
        a = await self.mm.mmap(0, nr * HUGE, prot, ANON)
        at = (a + HUGE - 1) & -HUGE
        await self.mm.madvise(at, HUGE, advice)
        return a, at

    async def to_dev(self, addr: int, size: int, data: bytes, fd: Dmirror | None = None) -> None:
        """hmm_migrate_sys_to_dev() of everything; the device sees `data` (the RTL: both ends of 2 MiB)."""
        fd = fd or self.fd
        part = min(size, self.size)
        if isinstance(fd, SvmDmirror):
            fd.read_back = part // PAGE
        cmd = await fd.migrate_to_dev(addr, size // PAGE)
        assert (cmd.ret, cmd.cpages) == (0, size // PAGE)
        assert cmd.data == data[: len(cmd.data)] and len(cmd.data) >= part
        if len(cmd.data) < size:
            assert (await fd.read(addr + size - part, part // PAGE)).data == data[-part:]

    async def cpu(self, addr: int, data: bytes, mm: MmStruct | None = None) -> None:
        """The CPU sees `data`."""
        assert await (mm or self.mm).load(addr, len(data)) == data

    def ok(self, cmd: Command, npages: int, faults: int = 1) -> bytes:
        """The command did all pages, with `faults` calls of the fault path; the RTL faults page by page."""
        assert (cmd.ret, cmd.cpages) == (0, npages)
        if self.v.rtl:
            assert bool(cmd.faults) == bool(faults)
        else:
            assert cmd.faults == faults
        return cmd.data


def ints(size: int, first: int = 0, sign: int = 1) -> bytes:
    """`size` bytes of consecutive 32-bit integers, or of their negatives."""
    return (sign * np.arange(first, first + size // 4, dtype=np.int32)).tobytes()


def hmm(
    v: Variant,
    body: Callable[[Hmm], Awaitable[Any]],
    n: int = 1,
    pages: int = 0,
    mib: int = 24,
    seed: int | None = None,
    **options: Any,
) -> Hmm:
    """Run a case: `n` devices with `pages` of device memory each (0: as many as the buffer has)."""
    h = Hmm(v, n, pages, mib, seed, **options)
    h.m.run(lambda: h.run(body))
    return h


def none_of(cmd: Command, code: int) -> bool:
    """The command failed with -`code` (an errno) and did nothing."""
    return (cmd.ret, cmd.cpages, cmd.data) == (-code, 0, b"")


EFAULT, EPERM, ENOENT, EINVAL = errno.EFAULT, errno.EPERM, errno.ENOENT, errno.EINVAL
