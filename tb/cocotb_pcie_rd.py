"""pcie_dma_rd: AXI reads through tags, splits and out-of-order completions; errors stay with their access."""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.triggers import RisingEdge, Timer
from cocotb.utils import get_sim_time

from tb.env_pcie import OKAY, SLVERR, Env, Read

BASE = 0x12_3456_0000
LOW = 0x0070_0000
#: Max_Payload, Max_Read_Request and read completion boundary, in bytes.
LIMITS = [(128, 128, 64), (256, 512, 128), (1024, 4096, 64)]


@cocotb.test(timeout_time=400, timeout_unit="us")
@cocotb.parametrize(idle=[0.0, 0.5], full=[0.0, 0.5], limits=LIMITS)
async def random_bursts(dut: Any, idle: float, full: float, limits: tuple[int, int, int]) -> None:
    """Bursts of any start, length and size return the host's bytes, whatever the order of completions."""
    env = await Env(dut, max_payload=limits[0], max_read=limits[1]).start()
    env.host.rcb = limits[2]
    env.press(idle, full)
    flows = env.flows() if idle and full else {}
    host, axi, rng = env.host, env.axi, env.rng
    areas = [(BASE, host.map(BASE, 1 << 16)), (LOW, host.map(LOW, 1 << 16))]
    reads: list[tuple[Read, int, int, bytes]] = []
    for _ in range(30):
        base, memory = areas[rng.randrange(2)]
        size = axi.size if rng.random() < 0.8 else rng.randrange(axi.size + 1)
        start = rng.choice([rng.randrange(4096), rng.randrange(0, 4096, axi.bytes)])
        first = start & ~((1 << size) - 1)
        beats = rng.randint(1, min(256, rng.choice([1, 4, 256]), (4096 - first) >> size))
        at = rng.randrange(16) * 4096 + start
        end = (at & ~((1 << size) - 1)) + (beats << size)
        read = axi.start_read(base + at, beats, rng.randrange(64), size)
        reads.append((read, base + at, size, bytes(memory[at:end])))
    for read, address, size, expected in reads:
        await read.done.wait()
        assert set(read.resps) == {OKAY}
        assert axi.data_of(read, address, size) == expected, f"read of {address:#x} size {size}"
    assert host.completions != sorted(host.completions), "the host kept the order"
    assert not env.events
    if flows:
        assert flows["rc"].idles and not flows["rc"].stalls, "RC: idle cycles from the host, never stalled"
        assert flows["rq"].stalls and not flows["rq"].idles, "RQ: stalled by the host, no gap in a packet"
    env.check()


@cocotb.test(timeout_time=100, timeout_unit="us")
@cocotb.parametrize(limit=[128, 512, 4096])
async def split_is_minimal(dut: Any, limit: int) -> None:
    """A page is cut at multiples of Max_Read_Request, or of the slot if that is less."""
    env = await Env(dut, max_read=limit).start()
    env.host.map(BASE, 1 << 13)
    length = min(256, 4096 // env.bytes) * env.bytes
    await env.axi.start_read(BASE, length // env.bytes).done.wait()
    assert [t.address for t in env.host.reads] == list(range(BASE, BASE + length, min(limit, 512)))
    env.check()


@cocotb.test(timeout_time=200, timeout_unit="us")
@cocotb.parametrize(
    kind=["ur", "ca", "poison", "headless", "missing", "late", "expired"],
    place=["first", "last"],
)
async def error_stays_with_its_access(dut: Any, kind: str, place: str) -> None:
    """A failed completion ends the beats of its TLP with SLVERR and zero data; all others return OKAY."""
    env = await Env(dut, max_payload=128, max_read=256).start()
    env.expect("Poisoned TLP", "Bad status", "Invalid tag")
    host, axi = env.host, env.axi
    # Short completions, so that one can be missing.
    host.split = split_every_rcb(host)  # type: ignore[method-assign]
    host.late_ns = 20_000
    memory = host.map(BASE, 1 << 14)
    host.faults[BASE + 4096 + {"first": 0, "last": 1023}[place]] = kind
    beats = 1024 // env.bytes
    good = [axi.start_read(BASE + 1024 * k, beats, id_=k % 8) for k in range(4)]
    bad = axi.start_read(BASE + 4096, beats, id_=1)
    good += [axi.start_read(BASE + 8192 + 1024 * k, beats, id_=k % 8) for k in range(4)]
    for k, read in enumerate(good):
        await read.done.wait()
        at = 1024 * k + (4096 if k >= 4 else 0)
        assert set(read.resps) == {OKAY}
        assert axi.data_of(read, BASE + at) == memory[at : at + 1024]
    await bad.done.wait()
    per_tlp = 256 // env.bytes
    hit = {"first": 0, "last": 3}[place]
    want = [SLVERR if k // per_tlp == hit else OKAY for k in range(beats)]
    assert bad.resps == want
    got = axi.data_of(bad, BASE + 4096)
    expected = bytearray(memory[4096:5120])
    expected[256 * hit : 256 * hit + 256] = bytes(256)
    assert got == expected
    # The tags that are left, and after a late completion all of them, go on working.
    await Timer(10 if kind == "late" else 0.5, "us")
    host.faults.clear()
    more = [axi.start_read(BASE, beats, id_=k) for k in range(24)]
    for read in more:
        await read.done.wait()
        assert set(read.resps) == {OKAY} and axi.data_of(read, BASE) == memory[:1024]
    await Timer(1, "us")
    if kind in ("missing", "late"):
        assert env.events["timeout"] == 1
    else:
        assert env.events["error"] >= 1 and not env.events["timeout"]
    env.check()


def split_every_rcb(host: Any) -> Any:
    """Host.split with a cut at each read completion boundary."""
    plain = type(host).split

    def split(tlp: Any, data: bytes) -> Any:
        payload, host.max_payload = host.max_payload, host.rcb
        try:
            return plain(host, tlp, data)
        finally:
            host.max_payload = payload

    return split


@cocotb.test(timeout_time=100, timeout_unit="us")
async def duplicates_change_nothing(dut: Any) -> None:
    """Completions that come twice are counted and otherwise ignored."""
    env = await Env(dut, max_payload=128, max_read=256).start()
    env.expect("Invalid tag", "Lower address mismatch")
    host, axi = env.host, env.axi
    host.split = split_every_rcb(host)  # type: ignore[method-assign]
    memory = host.map(BASE, 1 << 13)
    host.faults = {BASE + 256 * k: "twice" for k in range(0, 16, 2)}
    reads = [axi.start_read(BASE + 512 * k, 512 // env.bytes, id_=k) for k in range(8)]
    for k, read in enumerate(reads):
        await read.done.wait()
        assert set(read.resps) == {OKAY}
        assert axi.data_of(read, BASE + 512 * k) == memory[512 * k : 512 * k + 512]
    await Timer(2, "us")
    assert env.events["unexpected"] > 0 and not env.events["error"]
    env.check()


@cocotb.test(timeout_time=100, timeout_unit="us")
@cocotb.parametrize(
    reads=[
        cocotb.Param(((64, 64), (0, 256)), name="fewer_bytes"),
        cocotb.Param(((64, 64), (0, 64)), name="other_address"),
        cocotb.Param(((0, 256), (64, 64)), name="more_bytes"),
    ]
)
async def copy_meets_a_reused_tag(dut: Any, reads: tuple[tuple[int, int], tuple[int, int]]) -> None:
    """A completion comes again, does not fit the read that has its tag by then: that one ends with SLVERR.

    One of more bytes than the read still wants belongs to another for certain: it is dropped. `reads`: offset
    and size of the read before and of the later one.
    """
    (old_at, old_size), (new_at, new_size) = reads
    hurt = new_size >= old_size
    env = await Env(dut, max_payload=128, max_read=256).start()
    env.expect("Invalid tag", "Lower address mismatch")
    host, axi = env.host, env.axi
    host.split = split_every_rcb(host)  # type: ignore[method-assign]
    memory = host.map(BASE, 1 << 14)
    first = axi.start_read(BASE + old_at, old_size // env.bytes)
    await first.done.wait()
    (old,) = host.reads
    copy = host.split(old, bytes(memory[old_at : old_at + old_size]))[0]
    others = [axi.start_read(BASE + 1024 + 64 * k, 64 // env.bytes, id_=k) for k in range(31)]
    for read in others:
        await read.done.wait()
    host.latency = (4_000, 4_000)
    at = 8192 + new_at
    hit = axi.start_read(BASE + at, new_size // env.bytes)
    beside = axi.start_read(BASE + 4096, 256 // env.bytes, id_=1)
    await Timer(1, "us")
    assert host.reads[-2].tag == old.tag and host.reads[-2].address == BASE + at
    await env.rc.send(copy)
    for read in (hit, beside):
        await read.done.wait()
    assert set(beside.resps) == {OKAY} and axi.data_of(beside, BASE + 4096) == memory[4096 : 4096 + 256]
    assert set(hit.resps) == {SLVERR if hurt else OKAY}
    assert axi.data_of(hit, BASE + at) == (bytes(new_size) if hurt else memory[at : at + new_size])
    host.latency = (50, 800)
    await Timer(5, "us")
    assert env.events["error"] == hurt and env.events["unexpected"]
    for read in [axi.start_read(BASE + 64 * k, 64 // env.bytes, id_=k) for k in range(40)]:
        await read.done.wait()
        assert set(read.resps) == {OKAY}
    assert len({t.tag for t in host.reads[-40:]}) == 32
    env.check()


@cocotb.test(timeout_time=100, timeout_unit="us")
@cocotb.parametrize(timed_out=[False, True])
async def hard_block_gives_up(dut: Any, timed_out: bool) -> None:
    """Every tag lost: the hard block's timeout, before or after ours, ends each read and frees its tag."""
    env = await Env(dut).start()
    host, axi = env.host, env.axi
    memory = host.map(BASE, 1 << 12)
    plain, host.fault_of = host.fault_of, lambda tlp: "missing"  # type: ignore[method-assign]
    reads = [axi.start_read(BASE + 64 * k, 64 // env.bytes, id_=k) for k in range(40)]
    await Timer(24 if timed_out else 4, "us")
    lost = list(host.reads)
    assert sorted(t.tag for t in lost) == list(range(32))
    assert sum(r.done.is_set() for r in reads) == (32 if timed_out else 0)
    host.fault_of = plain  # type: ignore[method-assign]
    for tlp in env.rng.sample(lost, 32):
        host.expire(tlp)
    for k, read in enumerate(reads):
        await read.done.wait()
        assert set(read.resps) == {OKAY if k >= 32 else SLVERR}
        assert axi.data_of(read, BASE + 64 * k) == (memory[64 * k : 64 * k + 64] if k >= 32 else bytes(64))
    assert (env.events["error"], env.events["timeout"]) == ((0, 32) if timed_out else (32, 0))
    for read in [axi.start_read(BASE + 64 * k, 64 // env.bytes, id_=k) for k in range(64)]:
        await read.done.wait()
        assert set(read.resps) == {OKAY}
    assert {t.tag for t in host.reads[-64:]} == set(range(32)) and not env.events["unexpected"]
    env.check()


@cocotb.test(timeout_time=100, timeout_unit="us")
async def queues_pass_each_other(dut: Any) -> None:
    """A slow read holds its own ID only."""
    env = await Env(dut).start()
    env.host.map(BASE, 1 << 13)
    env.host.faults[BASE] = "late"
    env.host.late_ns = 10_000
    slow = env.axi.start_read(BASE, 1, id_=0)
    same = env.axi.start_read(BASE + 512, 1, id_=0)
    other = env.axi.start_read(BASE + 1024, 1, id_=1)
    await other.done.wait()
    assert not slow.done.is_set() and not same.done.is_set()
    await same.done.wait()
    assert slow.done.is_set() and slow.resps == [OKAY]
    env.check()


@cocotb.test(timeout_time=100, timeout_unit="us")
async def refused_bursts(dut: Any) -> None:
    """FIXED and WRAP bursts, and any burst while bus mastering is off, get SLVERR and send nothing."""
    env = await Env(dut).start()
    memory = env.host.map(BASE, 4096)
    for burst in (0, 2):
        read = env.axi.start_read(BASE, 4, burst=burst)
        await read.done.wait()
        assert read.resps == [SLVERR] * 4 and not any(read.beats)
    await env.pci.clear_master()
    await Timer(200, "ns")
    read = env.axi.start_read(BASE, 7)
    await read.done.wait()
    assert read.resps == [SLVERR] * 7 and not env.host.reads
    await env.pci.set_master()
    await Timer(200, "ns")
    read = env.axi.start_read(BASE, 2)
    await read.done.wait()
    assert read.resps == [OKAY] * 2 and env.axi.data_of(read, BASE) == memory[: 2 * env.bytes]
    env.check()


@cocotb.test(timeout_time=100, timeout_unit="us")
async def requests_leave_one_a_cycle(dut: Any) -> None:
    """Single-TLP reads go out at one a cycle while tags last."""
    env = await Env(dut).start()
    env.host.map(BASE, 1 << 14)
    reads = [env.axi.start_read(BASE + 256 * k, 1, id_=k) for k in range(32)]
    sent: list[float] = []
    while len(sent) < 32:
        await RisingEdge(dut.clk)
        if int(dut.m_axis_rq_tvalid.value) and int(dut.m_axis_rq_tready.value):
            sent.append(get_sim_time("ns"))
    cycles = (sent[20] - sent[4]) / 4
    cocotb.log.info("16 requests in %d cycles", cycles)
    assert cycles <= 20
    for read in reads:
        await read.done.wait()
    env.check()


@cocotb.test(timeout_time=100, timeout_unit="us")
async def extended_tags(dut: Any) -> None:
    """Tags from 32 on are used once the host has enabled extended tags, and no other time."""
    env = await Env(dut, extended_tag=True).start()
    memory = env.host.map(BASE, 1 << 14)
    env.host.latency = (1500, 2500)
    reads = [env.axi.start_read(BASE + 256 * k, 2, id_=k) for k in range(60)]
    for k, read in enumerate(reads):
        await read.done.wait()
        assert env.axi.data_of(read, BASE + 256 * k) == memory[256 * k : 256 * k + 2 * env.bytes]
    assert 32 <= max(t.tag for t in env.host.reads) < 64
    env.check()


@cocotb.test(timeout_time=200, timeout_unit="us")
async def extended_tags_withdrawn(dut: Any) -> None:
    """Tags from 32 on rest while the host does not allow them, and serve again when it does."""
    env = await Env(dut, extended_tag=True).start()
    env.host.map(BASE, 1 << 15)
    env.host.latency = (1500, 2500)
    for allowed in (True, False, True):
        env.device.functions[0].pcie_cap.extended_tag_field_enable = allowed
        dut.extended_tag.value = int(allowed)
        await Timer(1, "us")
        env.host.reads.clear()
        reads = [env.axi.start_read(BASE + 256 * k, 2, id_=k % 64) for k in range(120)]
        for read in reads:
            await read.done.wait()
        tags = {t.tag for t in env.host.reads}
        assert (max(tags) >= 32) == allowed and len(tags) == (64 if allowed else 32)
    env.check()


@cocotb.test(timeout_time=200, timeout_unit="us")
@cocotb.parametrize(pressure=[0.0, 0.5])
async def beside_writes(dut: Any, pressure: float) -> None:
    """Reads and writes share RQ packet by packet; a write whose B has been given is seen by a later read."""
    env = await Env(dut).start()
    env.press(pressure, pressure)
    axi, rng = env.axi, env.rng
    source, target = env.host.map(BASE, 1 << 14), env.host.map(LOW, 1 << 14)
    want = bytearray(target)

    async def copy(k: int) -> None:
        at, length = 1024 * k + rng.randrange(64), rng.randint(1, 900)
        data = rng.randbytes(length)
        want[at : at + length] = data
        assert await axi.write(LOW + at, data, id_=k) == OKAY
        beats = (at + length - 1) // env.bytes - at // env.bytes + 1
        read = axi.start_read(LOW + at, beats, id_=k)
        await read.done.wait()
        assert set(read.resps) == {OKAY} and axi.data_of(read, LOW + at)[:length] == data

    reads = [axi.start_read(BASE + 1024 * k, 1024 // env.bytes, id_=16 + k) for k in range(16)]
    tasks = [cocotb.start_soon(copy(k)) for k in range(16)]
    for k, read in enumerate(reads):
        await read.done.wait()
        assert axi.data_of(read, BASE + 1024 * k) == source[1024 * k : 1024 * k + 1024]
    for task in tasks:
        await task
    assert target == want
    env.check()
