"""fpga_core under a root complex that misbehaves: every error has one outcome, and nothing hangs.

docs/pcie.md has the table of outcomes.
"""

from __future__ import annotations

import errno
import re
from collections import Counter
from typing import Any

import cocotb
import numpy as np
import pytest
from cocotb.triggers import with_timeout
from cocotb.utils import get_sim_time

from sw_model.device_interface import (
    DONE,
    ENGINE_MAGIC,
    IRQ_DONE,
    IRQ_ERROR,
    LinkError,
    LinkSource,
    Op,
    Reg,
    Work,
    WorkStatus,
)
from sw_model.driver import SvmDriver
from sw_model.phys import PhysMem
from sw_model.rings import Consumer, RingSet
from sw_model.sched import sleep
from tb.pcie_host import ATOMICS, WRITES
from tb.pcie_rig import BASE, PASID, REQUESTER, Rig
from tb.pcie_world import HIGH_BASE, LOW_BASE, PcieHarness, PcieWorld
from tb.sim import HarnessError

OK, SLVERR = int(WorkStatus.OK), int(WorkStatus.SLVERR)
#: What the models say when a test asks for it.
POISONED, BAD_STATUS, NO_TAG = "Poisoned TLP", "Bad status", "Invalid tag"
LOWER, DROPPED = "Lower address mismatch", "Bus mastering disabled"
RINGS = ("CMD", "FAULT", "EVENT", "WORK", "DONE")


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
        cocotb.Param(("expired", LinkError.TIMEOUT), name="expired"),
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
@cocotb.parametrize(
    case=[
        cocotb.Param((ring, fault, reason), name=f"{ring}_{fault}".lower())
        for ring, fault, reason in (
            ("WORK", "ur", LinkError.UNSUPPORTED),
            ("WORK", "ca", LinkError.ABORTED),
            ("WORK", "poison", LinkError.POISONED),
            ("WORK", "missing", LinkError.TIMEOUT),
            ("CMD", "ur", LinkError.UNSUPPORTED),
            ("CMD", "expired", LinkError.TIMEOUT),
            ("CMD", "late", LinkError.TIMEOUT),
        )
    ]
)
async def ring_read_fails(dut: Any, case: tuple[str, str, LinkError]) -> None:
    """That ring halts, IRQ_ERROR and an event record say so; the driver gives the device up with EIO."""
    ring, fault, reason = case
    harness = await start(dut)
    harness.expect(BAD_STATUS, POISONED)
    harness.host.late_ns = 20_000

    async def body(rig: Rig) -> None:
        await rig.warm()
        base, log2 = {**rig.engine.rings, **rig.driver.rings}[ring]
        places.append(range(base, base + (32 << log2)))
        harness.host.faults = {base + 32 * k: fault for k in range(1 << log2)}
        if ring == "WORK":
            await rig.engine.submit(rig.rows(Work.READ, [1]))
        else:
            await rig.mm.munmap(BASE, 4096)
        await sleep(100_000)

    places: list[range] = []
    rig = Rig(harness)
    with pytest.raises(OSError, match="bus error on a ring") as error:
        await rig.run(body, judge=False)
    assert error.value.errno == errno.EIO
    assert (ring == "CMD") == ("CMD=3" in str(error.value)) and "FAULT=1 EVENT=1" in str(error.value)
    assert harness.irq_log.count(IRQ_ERROR) == 1
    (record,) = rig.driver.link_errors
    assert (record["status"], record["op"]) == (reason, LinkSource.RING) and record["addr"] in places[0]
    harness.check()
    if fault in ("ca", "late"):
        harness.host.faults.clear()
        await harness.function_reset()
        await again(harness)


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(ring=["FAULT", "EVENT", "DONE"])
async def record_refused(dut: Any, ring: str) -> None:
    """A record is posted: that the host refused it shows at the host, and in a TAIL ahead of the PHASE."""
    harness = await start(dut)
    harness.expect("at an unmapped address")

    async def body(rig: Rig) -> None:
        await rig.warm()
        base, _ = {**rig.engine.rings, **rig.driver.rings}[ring]
        consumer = {"FAULT": rig.driver.fault, "EVENT": rig.driver.event, "DONE": rig.engine.done}[ring]
        head = consumer.head
        assert await rig.reg(Reg[f"{ring}_TAIL"]) == head
        assert harness.host.iommu is not None
        harness.host.iommu.pages.discard(base >> 12)
        written = len(harness.host.writes)
        if ring == "EVENT":
            rig.world.spawn(rig.mm.munmap(BASE, 4096), "munmap", daemon=True)
        else:
            await rig.engine.submit(rig.rows(Work.READ, [0 if ring == "DONE" else rig.pages]))
        await sleep(10_000)
        sent = [t.address & ~0xFFF for t in harness.host.writes[written:]]
        assert sent.count(base) == len(harness.host.errors) == 1
        assert await rig.reg(Reg[f"{ring}_TAIL"]) == head + 1 and consumer.head == head
        for name in RINGS:
            assert await rig.reg(Reg[f"{name}_CTRL"]) == 1
        assert await rig.reg(Reg.LINK_ERRORS) == 0

    await Rig(harness).run(body, judge=False)
    if ring == "FAULT":
        harness.host.errors.clear()
        await harness.function_reset()
        await again(harness)


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
        cocotb.Param(("expired", LinkError.TIMEOUT), name="expired"),
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


def dropped(harness: PcieHarness, kind: str) -> set[int]:
    """Addresses of the requests that the model of the hard block threw away, bus mastering being off."""
    found = (re.search(rf"{DROPPED}.*{kind}.* address=(\w+)", line) for line in harness.complaints.seen)
    return {int(m[1], 16) for m in found if m}


async def bus_master(rig: Rig, on: bool) -> None:
    """Set or clear the function's bus master enable; on return the device has seen it."""
    pci = rig.harness.pci
    cocotb.start_soon(pci.set_master() if on else pci.clear_master())
    while await rig.reg(Reg.LINK_STATUS) & 1 != on:
        await sleep(100)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def bus_master_off(dut: Any) -> None:
    """With accesses in flight: OK are those whose requests have all left, SLVERR the others; all goes on.

    No ring has a record to move meanwhile, the DONE ring being full: none halts, and each outcome is told.
    """
    harness = await start(dut, max_payload=128, max_read=128)
    harness.expect(DROPPED)
    host, n = harness.host, 14

    async def body(rig: Rig) -> None:
        await rig.warm()
        vectors = await rig.reg(Reg.IRQ_ENABLE)
        await rig.world.transport.write_reg(Reg.IRQ_ENABLE, vectors & ~(1 << IRQ_DONE))
        filler = await rig.engine.submit(rig.rows(Work.READ, np.arange(16)))
        while await rig.reg(Reg.DONE_TAIL) - rig.engine.done.head < 16:
            await sleep(500)
        pages, old = np.arange(n), np.frombuffer(rig.content, "<u8")
        reads = rig.rows(Work.READ, pages, 512)
        writes = rig.rows(Work.WRITE, pages + 0.5, 8, data=~old[256::512][:n])
        swap = rig.rows(Work.CAS, [14.5], 8, src=old[14 * 512 + 256 :][:1], data=old[:1])
        copy = rig.rows(Work.COPY, [15.5], 8, src=rig.rows(Work.READ, [15])[:, 1])
        both = np.stack((reads, writes), 1).reshape(-1, 4)
        host.faults, host.late_ns = {rig.bus(p): "late" for p in (*range(16), 14.5)}, 4_000
        seen = len(host.reads), len(host.writes)
        handle = await rig.engine.submit(np.concatenate((swap, both, copy)))
        await rig.until(lambda: sum(t.tag > 4 for t in host.reads[seen[0] :]) >= 24)
        await bus_master(rig, False)
        sent = len(host.reads), len(host.writes)
        await sleep(6_000)
        assert (len(host.reads), len(host.writes)) == sent
        for name in RINGS:
            assert await rig.reg(Reg[f"{name}_CTRL"]) == 1, name
        assert await rig.reg(Reg.LINK_ERRORS) == 0
        await bus_master(rig, True)
        await rig.world.transport.write_reg(Reg.IRQ_ENABLE, vectors)
        await rig.engine.wait(filler)
        got = DONE.get(await rig.engine.wait(handle), "status").tolist()
        # What left the device: the host has it, or the model of the hard block threw it away.
        asked = {t.address for t in host.reads[seen[0] :]}
        lost = {kind: dropped(harness, kind) for kind in ("MEM_READ", "MEM_WRITE")}
        wrote = {t.address for t in host.writes[seen[1] :]}
        assert len(lost["MEM_READ"] | lost["MEM_WRITE"]) <= 6, "more than was on its way to RQ"
        want_reads = [{rig.bus(p, k) for k in range(0, 512, 128)} <= asked for p in range(n)]
        want_writes = [rig.bus(p + 0.5) in wrote | lost["MEM_WRITE"] for p in range(n)]
        assert got[1:-1:2] == [OK if left else SLVERR for left in want_reads]
        assert got[2:-1:2] == [OK if left else SLVERR for left in want_writes]
        assert 0 < sum(want_reads) < n and 0 < sum(want_writes) < n
        assert got[0] == got[-1] == SLVERR
        now, want = np.frombuffer(await rig.memory(), "<u8"), old.copy()
        stored = [p for p in range(n) if rig.bus(p + 0.5) in wrote]
        want[256::512][stored] = ~want[256::512][stored]
        assert (now == want).all()
        assert await rig.reg(Reg.LINK_ERRORS) == len(rig.driver.link_errors) == len(lost["MEM_READ"])
        host.faults.clear()
        rig.content = bytes(now)
        for _ in range(2):
            assert set(await rig.status(flood(rig))) == {OK}
        assert await rig.memory() == rig.content

    await Rig(harness, log2_done=4).run(body)
    harness.check()


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(reset=[False, True])
async def bus_master_off_halts_rings(dut: Any, reset: bool) -> None:
    """Each ring halts at the first record it has to move and stays so; a reset or new rings bring it back."""
    harness = await start(dut)
    harness.host.late_ns = 4_000

    async def body(rig: Rig) -> None:
        await rig.warm()
        tails = {n: await rig.reg(Reg[f"{n}_TAIL"]) for n in ("FAULT", "EVENT", "DONE")}
        # The invalidation and the write wait for the first read, the fault behind them for the write.
        harness.host.faults = {rig.bus(5): "late"}
        rows = [rig.rows(Work.READ, [5]), rig.rows(Work.WRITE, [5], 8), rig.rows(Work.READ, [rig.pages])]
        await rig.engine.submit(np.concatenate(rows))
        await rig.until(lambda: harness.host.reads[-1].address == rig.bus(5))
        rig.world.spawn(rig.mm.munmap(BASE + 5 * 4096, 4096), "munmap", daemon=True)
        await sleep(2_000)
        await bus_master(rig, False)
        sent = len(harness.host.reads), len(harness.host.writes)
        rig.world.spawn(rig.driver._command(Op.FENCE, PASID), "fence", daemon=True)
        await rig.engine.submit(rig.rows(Work.READ, [0]))
        await sleep(10_000)
        for name in RINGS:
            assert await rig.reg(Reg[f"{name}_CTRL"]) == 3, name
        await bus_master(rig, True)
        await sleep(5_000)
        assert (len(harness.host.reads), len(harness.host.writes)) == sent
        assert {n: await rig.reg(Reg[f"{n}_TAIL"]) for n in tails} == tails
        assert await rig.reg(Reg.LINK_ERRORS) == 0 and IRQ_ERROR not in harness.irq_log

    await Rig(harness).run(body, judge=False)
    harness.host.faults.clear()
    if reset:
        await harness.function_reset()
    else:
        await take_over(harness)
    await again(harness)


async def take_over(harness: PcieHarness) -> None:
    """What a driver does with a device whose rings have halted and that it does not reset.

    New rings, the PASID detached, the engine emptied into a DONE ring that nobody reads.
    """
    world = PcieWorld(harness, hang_cycles=200_000)
    phys = PhysMem(harness.memory)
    world.watch(phys)
    driver = SvmDriver(world.transport, phys, world.sched)
    scrap = RingSet(world.transport, phys)

    async def main() -> None:
        for name in RINGS:
            await world.transport.write_reg(Reg[f"{name}_CTRL"], 0)
        await driver.probe()
        await scrap.add(Consumer, "DONE", 8)
        await scrap.enable()
        assert await driver._command(Op.DETACH, PASID) == 0
        while not await world.transport.read_reg(Reg.ENGINE_STATUS) & 1:
            await sleep(1000)
        await scrap.remove()
        await driver.remove()

    world.spawn(main(), "take over")
    await world.run_cocotb(harness.dut, 100_000)
    harness.log.drain()


class Poker:
    """A host that reads and writes registers without a pause, several accesses at once."""

    def __init__(self, harness: PcieHarness, tasks: int = 4) -> None:
        self.harness = harness
        self.on = True
        #: values of ENGINE_ID, None for a read that was never answered
        self.seen: list[int | None] = []
        self.tasks = [cocotb.start_soon(self._run()) for _ in range(tasks)]

    async def _run(self) -> None:
        rc, bar = self.harness.rc, self.harness.bar
        while self.on:
            await rc.mem_write_dword(bar + Reg.DONE_HOLDOFF, 256)
            try:
                self.seen.append(await rc.mem_read_dword(bar + Reg.ENGINE_ID, timeout=2_000))
            except Exception as error:
                # The package raises no narrower type.
                assert str(error) == "Timeout"
                self.seen.append(None)

    async def stop(self) -> None:
        """Wait for the last accesses; every value was right or missing."""
        self.on = False
        for task in self.tasks:
            await task
        assert set(self.seen) <= {ENGINE_MAGIC, None}


async def busy(rig: Rig) -> None:
    """Traffic of every kind: reads, writes, copies, an AtomicOp, faults, an invalidation, an error."""
    rig.harness.host.faults[rig.bus(12)] = "ur"
    rig.world.spawn(rig.mm.munmap(BASE + 14 * 4096, 8192), "munmap", daemon=True)
    source = rig.rows(Work.READ, [0, 1.5, 3.25])[:, 1]
    rows = (
        rig.rows(Work.CAS, [13], 8),
        rig.rows(Work.COPY, [8, 9.5, 11.25], 1000, src=source),
        flood(rig),
        rig.rows(Work.READ, [rig.pages, rig.pages + 1]),
    )
    await rig.engine.submit(np.concatenate(rows))


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(reads=["answered", "late", "ended"])
async def function_level_reset(dut: Any, reads: str) -> None:
    """With traffic in flight both ways: no packet is cut, no old completion reaches a new request.

    What the host asks for meanwhile is answered right or not at all. The hard block may end the reads.
    """
    harness = await start(dut)
    harness.expect(DROPPED, NO_TAG, BAD_STATUS)
    harness.host.latency = (500, 3_000)
    flows, pokers = harness.flows(), []

    async def body(rig: Rig) -> None:
        await rig.warm()
        if reads == "late":
            harness.host.late_ns = 30_000
            harness.host.faults = {rig.bus(p): "late" for p in range(0, rig.pages, 5)}
        await busy(rig)
        pokers.append(Poker(harness))
        while not await rig.reg(Reg.LINK_ERRORS):
            await sleep(200)

    await Rig(harness).run(body, judge=False)
    plain = harness.host.fault_of
    if reads == "ended":
        harness.host.fault_of = lambda tlp: "missing"
    begin = get_sim_time("ns")
    await with_timeout(harness.function_reset(ends_reads=reads == "ended"), 100, "us")
    # A read without an answer times out after 16 us.
    assert get_sim_time("ns") - begin < (8_000 if reads == "ended" else 20_000)
    harness.host.fault_of = plain
    await pokers[0].stop()
    assert None in pokers[0].seen and pokers[0].seen[0] == ENGINE_MAGIC
    assert not flows["rq"].idles and not flows["cc"].idles, "a packet without its end"
    harness.host.faults.clear()
    await again(harness)


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def surprise_reset(dut: Any) -> None:
    """The link goes down and up under traffic both ways: registers read as gone, then all works again."""
    harness = await start(dut)
    harness.expect("Configuration space disabled", NO_TAG, BAD_STATUS, "No space")
    harness.host.latency = (500, 1_500)

    async def body(rig: Rig) -> None:
        await rig.warm()
        await busy(rig)
        poker = Poker(harness)
        while not await rig.reg(Reg.LINK_ERRORS):
            await sleep(200)
        cocotb.start_soon(harness.link_down())
        await sleep(2_000)
        poker.on = False
        with pytest.raises(OSError) as error:
            await rig.reg(Reg.ID)
        assert error.value.errno == errno.ENODEV
        assert set(poker.seen) == {ENGINE_MAGIC, None}

    await Rig(harness).run(body, judge=False)
    harness.host.faults.clear()
    await harness.link_up_again()
    await again(harness)


async def again(harness: PcieHarness) -> None:
    """A new driver on the device: everything works, with the oracle watching."""

    async def body(rig: Rig) -> None:
        await rig.warm()
        for _ in range(3):
            assert set(await rig.status(flood(rig))) == {OK}
        for reg in (Reg.LINK_ERRORS, Reg.LINK_UNEXPECTED, Reg.LINK_LOST):
            assert await rig.reg(reg) == 0, reg.name
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
    flows = harness.flows()

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
    for name in ("cq", "rc"):
        assert bool(flows[name].idles) == bool(idle), f"{name}: idle cycles"
    for name in ("cc", "rq"):
        assert not full or flows[name].stalls > flows[name].beats // 4, f"{name}: back-pressure"
        assert not flows[name].idles, f"{name}: a gap in a packet"
    assert not flows["rc"].stalls, "the device takes every completion at once"
