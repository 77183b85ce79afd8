"""fpga_core under a root complex that misbehaves: every error has one outcome, and nothing hangs.

docs/pcie.md has the table of outcomes.
"""

from __future__ import annotations

import errno
from collections import Counter
from typing import Any

import cocotb
import numpy as np
import pytest
from cocotb.triggers import RisingEdge, Timer

from sw_model.device_interface import IRQ_ERROR, LinkError, LinkSource, Reg, Work, WorkStatus
from sw_model.sched import sleep
from tb.pcie_host import ATOMICS, WRITES
from tb.pcie_rig import BASE, PASID, REQUESTER, Rig
from tb.pcie_world import HIGH_BASE, LOW_BASE, PcieHarness
from tb.sim import HarnessError

OK, SLVERR = int(WorkStatus.OK), int(WorkStatus.SLVERR)
#: What the models say when a test asks for it.
POISONED, BAD_STATUS, NO_TAG = "Poisoned TLP", "Bad status", "Invalid tag"
LOWER, DROPPED, NO_BAR = "Lower address mismatch", "Bus mastering disabled", "No BAR match"


async def start(dut: Any, **kw: Any) -> PcieHarness:
    """The link, up; the test's seed decides latencies and splits."""
    harness = PcieHarness(dut, seed=cocotb.RANDOM_SEED & 0xFFFF, memory_bytes=8 << 20, **kw)
    return await harness.start()


def flood(rig: Rig, n: int = 96) -> np.ndarray:
    """Reads and writes of 256 bytes over every page; the writes put back what is there."""
    page = np.arange(n) % rig.pages
    where = page + 0.25 * (np.arange(n) // rig.pages % 4)
    reads = rig.rows(Work.READ, where[::2], 256)
    data = np.frombuffer(rig.content, "<u8")[(where[1::2] * 512).astype(int)]
    writes = rig.rows(Work.WRITE, where[1::2], 8, data=data)
    out = np.empty((len(reads) + len(writes), 4), np.uint64)
    out[::2], out[1::2] = reads, writes
    return out


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(
    kind=[
        cocotb.Param(("ur", LinkError.UNSUPPORTED), name="ur"),
        cocotb.Param(("ca", LinkError.ABORTED), name="ca"),
        cocotb.Param(("poison", LinkError.POISONED), name="poison"),
        cocotb.Param(("headless", LinkError.MALFORMED), name="headless"),
        cocotb.Param(("missing", LinkError.TIMEOUT), name="missing"),
        cocotb.Param(("late", LinkError.TIMEOUT), name="late"),
    ]
)
async def bad_completion(dut: Any, kind: tuple[str, LinkError]) -> None:
    """It ends its own access with SLVERR, is in one event record and one count; all else goes on."""
    harness = await start(dut, max_payload=128, max_read=512)
    fault, reason = kind
    harness.expect(POISONED, BAD_STATUS, NO_TAG, LOWER)
    harness.host.late_ns = 25_000

    async def body(rig: Rig) -> None:
        await rig.warm()
        harness.host.faults[rig.bus(5)] = fault
        want = [SLVERR if page == 5 else OK for page in range(rig.pages)]
        assert await rig.status(rig.rows(Work.READ, np.arange(rig.pages), 512)) == want
        await rig.until(lambda: rig.driver.link_errors)
        (record,) = rig.driver.link_errors
        assert record["status"] == reason and record["op"] == LinkSource.DATA
        assert (record["pasid"], record["requester"], record["addr"]) == (PASID, REQUESTER, rig.bus(5))
        assert await rig.reg(Reg.LINK_ERRORS) == 1 and await rig.reg(Reg.LINK_LOST) == 0
        harness.host.faults.clear()
        # Every tag but those that wait for their completion is used again, and after it that one too.
        assert set(await rig.status(flood(rig))) == {OK}
        if fault == "late":
            await sleep(12_000)
            assert set(await rig.status(flood(rig))) == {OK}
        assert await rig.memory() == rig.content

    await Rig(harness).run(body)
    harness.check()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def duplicated_completion(dut: Any) -> None:
    """It is counted and changes nothing."""
    harness = await start(dut, max_payload=128)
    harness.expect(NO_TAG, LOWER)

    async def body(rig: Rig) -> None:
        await rig.warm()
        harness.host.faults = {rig.bus(p): "twice" for p in range(0, rig.pages, 2)}
        assert set(await rig.status(flood(rig))) == {OK}
        assert await rig.reg(Reg.LINK_UNEXPECTED) > 0
        assert await rig.reg(Reg.LINK_ERRORS) == 0 and not rig.driver.link_errors

    await Rig(harness).run(body)
    harness.check()


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(fault=["ur", "missing"])
async def ring_read_fails(dut: Any, fault: str) -> None:
    """The ring halts, IRQ_ERROR and an event record say so; the driver gives the device up with EIO."""
    harness = await start(dut)
    harness.expect(BAD_STATUS)

    async def body(rig: Rig) -> None:
        await rig.warm()
        base, log2 = rig.engine.rings["WORK"]
        harness.host.faults = {base + 32 * k: fault for k in range(1 << log2)}
        await rig.engine.submit(rig.rows(Work.READ, [1]))
        await sleep(100_000)

    rig = Rig(harness)
    with pytest.raises(OSError, match="bus error on a ring") as error:
        await rig.run(body, judge=False)
    assert error.value.errno == errno.EIO
    assert harness.irq_log.count(IRQ_ERROR) == 1
    assert [r["op"] for r in rig.driver.link_errors] == [LinkSource.RING]
    harness.check()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def compare_and_swap(dut: Any) -> None:
    """An exclusive write is a CAS AtomicOp of the host: it stores, or it returns what is there."""
    harness = await start(dut)

    async def body(rig: Rig) -> None:
        await rig.warm()
        old = np.frombuffer(rig.content, "<u8")[:: 4096 // 8]
        hits = rig.rows(Work.CAS, np.arange(8), 8, src=old[:8], data=old[:8] ^ np.uint64(0xFF))
        misses = rig.rows(
            Work.CAS, np.arange(8, 16), 8, src=old[8:] ^ np.uint64(1), data=old[8:] ^ np.uint64(7)
        )
        done = await rig.engine.run(np.concatenate((hits, misses)))
        assert (done[:, 1] == old).all() and not (done[:, 0] >> np.uint64(32) & np.uint64(0xFF)).any()
        now = np.frombuffer(await rig.memory(), "<u8")[:: 4096 // 8]
        assert (now[:8] == old[:8] ^ np.uint64(0xFF)).all() and (now[8:] == old[8:]).all()

    await Rig(harness).run(body)
    assert sum(t.fmt_type in ATOMICS for t in harness.host.reads) == 8
    harness.check()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def compare_and_swap_loses(dut: Any) -> None:
    """A CPU stores between the exclusive read and the AtomicOp: nothing is swapped, its value is returned."""
    harness = await start(dut)
    plain, seen = type(harness.host).fault_of, []
    theirs = bytes(range(8))

    def store_first(tlp: Any) -> str:
        if tlp.fmt_type in ATOMICS and not seen:
            seen.append(tlp)
            at = tlp.address - harness.bus_base
            harness.memory[at : at + 8] = np.frombuffer(theirs, np.uint8)
        return plain(harness.host, tlp)

    harness.host.fault_of = store_first

    async def body(rig: Rig) -> None:
        await rig.warm()
        old = np.frombuffer(rig.content, "<u8")[:1]
        done = await rig.engine.run(rig.rows(Work.CAS, [0], 8, src=old, data=old ^ np.uint64(1)))
        assert done[0, 1] == int.from_bytes(theirs, "little")
        assert (await rig.memory())[:8] == theirs

    await Rig(harness).run(body)
    assert seen
    harness.check()


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(
    kind=[
        cocotb.Param(("", LinkError.UNSUPPORTED), name="unsupported"),
        cocotb.Param(("missing", LinkError.TIMEOUT), name="missing"),
    ]
)
async def atomic_fails(dut: Any, kind: tuple[str, LinkError]) -> None:
    """Where the host completes no AtomicOp the CAS ends with SLVERR and stores nothing."""
    harness = await start(dut)
    harness.expect(BAD_STATUS)
    fault, reason = kind
    harness.host.atomics = bool(fault)
    plain = type(harness.host).fault_of
    harness.host.fault_of = lambda tlp: fault if tlp.fmt_type in ATOMICS else plain(harness.host, tlp)

    async def body(rig: Rig) -> None:
        await rig.warm()
        old = np.frombuffer(rig.content, "<u8")[:1]
        assert await rig.status(rig.rows(Work.CAS, [0], 8, src=old, data=old ^ np.uint64(1))) == [SLVERR]
        await rig.until(lambda: rig.driver.link_errors)
        (record,) = rig.driver.link_errors
        assert (record["status"], record["op"], record["addr"]) == (reason, LinkSource.ATOMIC, rig.bus(0))
        assert await rig.memory() == rig.content
        assert set(await rig.status(flood(rig))) == {OK}

    await Rig(harness).run(body)
    harness.check()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def more_errors_than_records(dut: Any) -> None:
    """With the EVENT ring off every error is counted; those that the queue of 8 has no room for, as lost."""
    harness = await start(dut)
    harness.expect(BAD_STATUS)

    async def body(rig: Rig) -> None:
        await rig.warm()
        harness.host.faults = {rig.bus(p): "ur" for p in range(16)}
        await rig.world.transport.write_reg(Reg.EVENT_CTRL, 0)
        assert set(await rig.status(rig.rows(Work.READ, np.arange(16)))) == {SLVERR}
        assert await rig.reg(Reg.LINK_ERRORS) == 16 and await rig.reg(Reg.LINK_LOST) == 8

    await Rig(harness).run(body, judge=False)
    harness.check()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def refused_request(dut: Any) -> None:
    """A read of three dwords of BAR0 is answered UR and counted; registers go on."""
    harness = await start(dut)
    seen: list[str] = []

    async def read() -> None:
        with pytest.raises(Exception, match="Unsuccessful completion") as error:
            await harness.rc.mem_read(harness.bar, 12, timeout=20_000)
        seen.append(str(error.value))

    async def body(rig: Rig) -> None:
        cocotb.start_soon(read())
        await rig.until(lambda: seen)
        assert await rig.reg(Reg.LINK_UNSUPPORTED) == 1
        assert set(await rig.status(flood(rig))) == {OK}

    await Rig(harness).run(body)
    harness.check()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def masked_vector(dut: Any) -> None:
    """A masked vector waits in the PBA, once, and is sent when the mask opens."""
    harness = await start(dut)
    table, pba = harness.bar + 0x3000, harness.bar + 0x3800
    done = 2

    async def mask(on: int) -> None:
        await harness.rc.mem_write_dword(table + 16 * done + 12, on)
        seen.append(await harness.rc.mem_read_dword(pba))

    seen: list[int] = []

    async def body(rig: Rig) -> None:
        await rig.warm()
        cocotb.start_soon(mask(1))
        await rig.until(lambda: seen)
        before = harness.irq_log.count(done)
        handle = await rig.engine.submit(flood(rig, 32))
        await sleep(20_000)
        assert handle.left and harness.irq_log.count(done) == before
        cocotb.start_soon(mask(0))
        await rig.until(lambda: len(seen) == 2)
        await rig.engine.wait(handle)
        assert harness.irq_log.count(done) > before

    await Rig(harness).run(body)
    assert seen[0] == 0
    harness.check()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def no_credit_for_reads(dut: Any) -> None:
    """Without non-posted credit reads wait and writes pass them; with credit they go on."""
    harness = await start(dut)

    harness.host.latency = (1_000, 1_500)

    async def body(rig: Rig) -> None:
        await rig.warm()
        reads, data = len(harness.host.reads), np.frombuffer(rig.content, "<u8")[:: 4096 // 8]
        rows = np.concatenate(
            (rig.rows(Work.READ, [11, 12]), rig.rows(Work.WRITE, np.arange(10), 8, data=data[:10]))
        )
        pages = {rig.bus(p) for p in range(10)}
        written = len(harness.host.writes)
        handle = await rig.engine.submit(rows)
        # The descriptors have been asked for, and are not there yet.
        await rig.until(lambda: len(harness.host.reads) > reads)
        harness.dut.pcie_tfc_nph_av.value = 0
        await sleep(5_000)
        assert {t.address for t in harness.host.writes[written:]} > pages
        assert len(harness.host.reads) == reads + 1 and handle.left
        harness.dut.pcie_tfc_nph_av.value = 1
        await rig.engine.wait(handle)

    await Rig(harness).run(body)
    harness.check()


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(iommu=[False, True])
async def outside_what_is_mapped(dut: Any, iommu: bool) -> None:
    """A bus address that the host has not mapped is refused, ends its access, and fails the run."""
    base = HIGH_BASE if iommu else LOW_BASE
    harness = await start(dut, iommu=iommu, bus_base=base)
    harness.expect(BAD_STATUS)

    async def body(rig: Rig) -> None:
        await rig.warm()
        harness.check()
        if iommu:
            assert harness.host.iommu is not None
            harness.host.iommu.pages.discard(rig.bus(3) >> 12)
        else:
            memory, hole = memoryview(harness.memory), rig.bus(3) - base
            harness.host.regions = [(base, memory[:hole]), (rig.bus(3) + 4096, memory[hole + 4096 :])]
        assert await rig.status(rig.rows(Work.READ, [2, 3, 4])) == [OK, SLVERR, OK]

    with pytest.raises(HarnessError, match="at an unmapped address"):
        await Rig(harness).run(body)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def stale_translation_shows(dut: Any) -> None:
    """A driver that forgets to invalidate: the IOMMU refuses the access, and the oracle names it."""
    harness = await start(dut)
    harness.expect(BAD_STATUS)

    async def forgets(att: Any, start: int, end: int, blockable: bool, mark: Any, *rest: Any) -> bool:
        mark()
        return True

    async def body(rig: Rig) -> None:
        await rig.warm()
        rig.driver.invalidate = forgets  # type: ignore[method-assign]
        await rig.mm.munmap(BASE + 3 * 4096, 4096)
        assert await rig.status(rig.rows(Work.READ, [2, 3, 4])) == [OK, SLVERR, OK]

    rig = Rig(harness)
    with pytest.raises(HarnessError, match="at an unmapped address"):
        await rig.run(body)
    assert {"freed-frame", "freed-under-grant", "pte-lost"} <= set(rig.verdict().rules)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def broken_requests_show(dut: Any) -> None:
    """The host refuses what a real one would: each rule, by a request that breaks it."""
    harness = await start(dut)

    async def body(rig: Rig) -> None:
        await rig.warm()
        assert await rig.status(rig.rows(Work.READ, [1], 256)) == [OK]

    await Rig(harness).run(body)
    harness.check()
    good = next(t for t in harness.host.reads if t.length > 16)
    breaks: dict[str, dict[str, int]] = {
        "crosses 4 KiB": {"address": (good.address | 0xFFC)},
        "longer than": {"length": 1024, "address": good.address & ~0xFFF},
        "wrong requester": {"requester_id": type(good.requester_id)(9, 0, 0)},
        "tag out of range": {"tag": 250},
        "hole in the BEs": {"first_be": 5},
        "no first or last BE": {"last_be": 0},
    }
    for rule, changes in breaks.items():
        bad = type(good)(good)
        for name, value in changes.items():
            setattr(bad, name, value)
        harness.host.errors.clear()
        harness.host.check(bad)
        with pytest.raises(HarnessError, match=rule):
            harness.check()
    harness.host.errors.clear()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def bus_master_off(dut: Any) -> None:
    """Accesses end with SLVERR, rings halt, nothing is sent; after a function-level reset all works again."""
    harness = await start(dut)
    harness.expect(DROPPED)

    async def body(rig: Rig) -> None:
        await rig.warm()
        await rig.engine.submit(flood(rig))
        await sleep(500)
        cocotb.start_soon(harness.pci.clear_master())
        await sleep(5_000)
        sent = len(harness.host.writes), len(harness.host.reads)
        await rig.engine.submit(rig.rows(Work.READ, [0]))
        await sleep(20_000)
        assert (len(harness.host.writes), len(harness.host.reads)) == sent
        assert await rig.reg(Reg.LINK_STATUS) & 1 == 0
        assert await rig.reg(Reg.WORK_CTRL) & 2 or await rig.reg(Reg.DONE_CTRL) & 2

    await Rig(harness).run(body, judge=False)
    await harness.function_reset()
    await again(harness)


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(late=[False, True])
async def function_level_reset(dut: Any, late: bool) -> None:
    """With traffic in flight: no packet is cut, no old completion reaches a new request."""
    harness = await start(dut)
    harness.expect(DROPPED, NO_TAG)
    harness.host.latency = (500, 3_000)

    async def body(rig: Rig) -> None:
        await rig.warm()
        if late:
            harness.host.late_ns = 30_000
            harness.host.faults = {rig.bus(p): "late" for p in range(0, rig.pages, 3)}
        await rig.engine.submit(flood(rig))
        await sleep(1_500)

    await Rig(harness).run(body, judge=False)
    await harness.function_reset()
    harness.host.faults.clear()
    await again(harness)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def surprise_reset(dut: Any) -> None:
    """The link goes down and comes up under traffic: registers read as gone, then all works again."""
    harness = await start(dut)
    harness.expect("Configuration space disabled", NO_TAG, "No space")

    async def body(rig: Rig) -> None:
        await rig.warm()
        await rig.engine.submit(flood(rig))
        await sleep(1_000)
        harness.dut.sys_reset.value = 0
        await sleep(2_000)
        with pytest.raises(OSError) as error:
            await rig.reg(Reg.ID)
        assert error.value.errno == errno.ENODEV

    await Rig(harness).run(body, judge=False)
    await harness.link_up_again()
    await again(harness)


async def again(harness: PcieHarness) -> None:
    """A new driver on the device: everything works, with the oracle watching."""

    async def body(rig: Rig) -> None:
        await rig.warm()
        for _ in range(3):
            assert set(await rig.status(flood(rig))) == {OK}
        assert await rig.memory() == rig.content
        assert not rig.driver.link_errors

    await Rig(harness, seed=2).run(body)
    harness.check()


@cocotb.test(timeout_time=4, timeout_unit="ms")
@cocotb.parametrize(idle=[0.0, 0.5], full=[0.0, 0.5], limits=[(128, 128), (256, 4096)])
async def matrix(dut: Any, idle: float, full: float, limits: tuple[int, int]) -> None:
    """Idle cycles and back-pressure on every stream: the same bytes, in legal requests."""
    harness = await start(dut, max_payload=limits[0], max_read=limits[1], extended_tag=idle > 0)
    harness.host.rcb = 128 if full else 64
    harness.press(idle, full)

    async def body(rig: Rig) -> None:
        await rig.warm()
        assert set(await rig.status(flood(rig))) == {OK}
        copies = rig.rows(Work.COPY, [8, 9.5, 11.25], 1000, src=rig.rows(Work.READ, [0, 1.5, 3.25])[:, 1])
        assert set(await rig.status(copies)) == {OK}
        want = bytearray(rig.content)
        for to, source in ((8, 0), (9.5, 1.5), (11.25, 3.25)):
            a, b = int(to * 4096), int(source * 4096)
            want[a : a + 1000] = rig.content[b : b + 1000]
        assert await rig.memory() == want

    await Rig(harness).run(body)
    kinds = Counter(t.fmt_type in WRITES for t in harness.host.reads + harness.host.writes)
    assert kinds[True] and kinds[False]
    harness.check()
    assert not int(dut.m_axis_rq_tvalid.value)
    await RisingEdge(dut.clk)
    await Timer(1, "ns")
