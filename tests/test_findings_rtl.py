"""The findings on the Verilated device: what it does when the driver has the bug, and nothing without it."""

from __future__ import annotations

import contextlib
import re

import pytest

from sw_model.explore.config import mutants
from sw_model.mm import MADV_DONTNEED, PROT_READ, MmStruct
from sw_model.sched import RandomStrategy, sleep
from sw_model.svm_dmirror import SvmDmirror
from tb.dmirror_rtl import Rack
from tests.mm_helpers import PAGE, RW

BASE = 0x1000_0000
MAP = 0x32  # MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED
NEIGHBOUR_PAGES = 64


def against_dontneed(command: str, seed: int) -> None:
    """`command` of the device, and reads, while the page is thrown away and a neighbour allocates.

    Raises AssertionError with the oracle's report.
    """
    rack = Rack(device_pages=16, seed=seed, strategy=RandomStrategy(seed, 0.5, 0.1, 400))
    mm, other = MmStruct(rack.phys, "process"), MmStruct(rack.phys, "neighbour")
    stop: list[int] = []

    async def dontneed() -> None:
        while not stop:
            await mm.madvise(BASE, PAGE, MADV_DONTNEED)
            await mm.store(BASE, b"mine")
            await sleep(300)

    async def neighbour() -> None:
        page = 0
        while not stop:
            page = (page + 1) % NEIGHBOUR_PAGES
            await other.store(BASE + page * PAGE, b"\xee" * PAGE)
            await other.madvise(BASE + page * PAGE, PAGE, MADV_DONTNEED)
            await sleep(200)

    async def main() -> None:
        await mm.mmap(BASE, PAGE, RW, MAP)
        await mm.store(BASE, b"mine")
        await other.mmap(BASE, NEIGHBOUR_PAGES * PAGE, RW, MAP)
        fd = await rack.devices[0].open(mm)
        threads = [rack.sched.spawn(t, t.__name__) for t in (dontneed(), neighbour())]
        for _ in range(12):
            await getattr(fd, command)(BASE, 1)
            await fd.read(BASE, 1)
        stop.append(1)
        for t in threads:
            await t.join()
        await fd.close()
        await mm.exit()
        await other.exit()

    rack.run(main)


@pytest.mark.parametrize(("bug", "command"), [("c2", "exclusive"), ("c3", "migrate_to_dev")])
def test_a_freed_page_is_read(bug: str, command: str) -> None:
    """The oracle sees accesses of frames that are free, within a few seeds; none with the fixed driver."""
    with mutants()[bug].on():
        for seed in range(6):
            try:
                against_dontneed(command, seed)
            except AssertionError as e:
                found = set(re.findall(r"(freed-frame|foreign-frame): read of", str(e)))
                if found:
                    break
        else:
            pytest.fail("no seed shows it")
    against_dontneed(command, seed)


async def read_only_in_device(rack: Rack, mm: MmStruct) -> SvmDmirror:
    """MIGRATE_TO_DEV; mprotect(R): the open file of the device that has the page."""
    await mm.mmap(BASE, PAGE, RW, MAP)
    await mm.store(BASE, b"mine")
    fd = await rack.devices[0].open(mm)
    assert isinstance(fd, SvmDmirror)
    await fd.migrate_to_dev(BASE, 1)
    await mm.mprotect(BASE, PAGE, PROT_READ)
    return fd


@pytest.mark.parametrize("bug", ["", "c10"])
def test_a_write_that_faults_for_ever(bug: str) -> None:
    """C10: every fault is answered with success and a read-only fill, so that the device asks again."""
    rack = Rack(device_pages=16)
    mm = MmStruct(rack.phys, "process")

    async def main() -> int:
        fd = await read_only_in_device(rack, mm)
        await mm.mprotect(BASE, PAGE, RW)
        before = fd.driver.stats["faults"]

        async def watch() -> None:
            await sleep(100_000)
            assert fd.driver.stats["faults"] - before < 10, "the device faults for ever"

        watching = rack.sched.spawn(watch(), "watch")
        cmd = await fd.write(BASE, b"device" + bytes(PAGE - 6))
        assert (cmd.ret, await mm.load(BASE, 6)) == (0, b"device")
        faults = fd.driver.stats["faults"] - before
        await watching.join()
        await fd.close()
        await mm.exit()
        return faults

    with mutants()[bug].on() if bug else contextlib.nullcontext():
        if not bug:
            assert rack.run(main) == 1
            return
        with pytest.raises(AssertionError, match="for ever"):
            rack.run(main)


@pytest.mark.parametrize("bug", ["", "c12"])
def test_a_private_page_is_read_where_it_has_no_memory(bug: str) -> None:
    """C12: MIGRATE_TO_DEV; mprotect(R); device READ."""
    rack = Rack(device_pages=16)
    mm = MmStruct(rack.phys, "process")

    async def main() -> int:
        fd = await read_only_in_device(rack, mm)
        cmd = await fd.read(BASE, 1)
        await fd.close()
        await mm.exit()
        return cmd.ret

    with mutants()[bug].on() if bug else contextlib.nullcontext():
        if not bug:
            assert rack.run(main) == 0
            return
        with pytest.raises(AssertionError, match="fill-without-pte"):
            rack.run(main)
