"""pcie_dma_wr and pcie_rq_mux: AXI writes become legal memory-write TLPs and change nothing else."""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.triggers import Timer

from tb.env_pcie import OKAY, SLVERR, Env

BASE = 0x12_3456_0000
LOW = 0x0070_0000


@cocotb.test(timeout_time=200, timeout_unit="us")
@cocotb.parametrize(idle=[0.0, 0.5], full=[0.0, 0.5], payload=[128, 256, 1024])
async def random_bursts(dut: Any, idle: float, full: float, payload: int) -> None:
    """Bursts of any start, length, size and strobes land byte for byte."""
    env = await Env(dut, max_payload=payload).start()
    env.press(idle, full)
    flows = env.flows() if idle and full else {}
    host, axi, rng = env.host, env.axi, env.rng
    areas = [(BASE, host.map(BASE, 1 << 16)), (LOW, host.map(LOW, 1 << 16))]
    want = [bytearray(memory) for _, memory in areas]
    waits = []
    for _ in range(25):
        k = rng.randrange(2)
        size = axi.size if rng.random() < 0.8 else rng.randrange(axi.size + 1)
        page = rng.randrange(16) * 4096
        start = rng.choice([rng.randrange(4096), rng.randrange(0, 4096, axi.bytes)])
        most = min(4096 - start, (1 << size) * rng.choice([1, 4, 64]))
        length = rng.randint(1, most) if rng.random() < 0.7 else most
        data = rng.randbytes(length)
        strobes = bytes([1]) * length
        if rng.random() < 0.3:
            density = rng.choice([0.02, 0.5, 1.0])
            strobes = bytes(int(rng.random() > density) for _ in range(length))
        at = page + start
        for n in range(length):
            if strobes[n]:
                want[k][at + n] = data[n]
        waits.append(axi.start_write(areas[k][0] + at, data, strobes, rng.randrange(64), size))
    for event, out in waits:
        await event.wait()
        assert out == [OKAY]
    await Timer(2, "us")
    for (_, memory), expected in zip(areas, want, strict=True):
        assert memory == expected
    if flows:
        assert flows["rq"].stalls and not flows["rq"].idles, "RQ: stalled by the host, no gap in a packet"
    env.check()


@cocotb.test(timeout_time=100, timeout_unit="us")
@cocotb.parametrize(payload=[128, 512])
async def split_is_minimal(dut: Any, payload: int) -> None:
    """A page is cut into 4096 / Max_Payload TLPs at its multiples, an unaligned one into one more."""
    env = await Env(dut, max_payload=payload).start()
    env.host.map(BASE, 1 << 14)
    beats = min(256, 4096 // env.bytes) * env.bytes
    await env.axi.write(BASE, env.rng.randbytes(beats))
    await Timer(2, "us")
    assert [t.address for t in env.host.writes] == list(range(BASE, BASE + beats, payload))
    env.host.writes.clear()
    await env.axi.write(BASE + 4096 + 5, env.rng.randbytes(payload))
    await Timer(2, "us")
    assert [(t.address, t.first_be, t.last_be) for t in env.host.writes] == [
        (BASE + 4100, 0xE, 0xF),
        (BASE + 4096 + payload, 0xF, 0x1),
    ]
    env.check()


@cocotb.test(timeout_time=100, timeout_unit="us")
async def b_follows_the_write(dut: Any) -> None:
    """B is not given before the TLP has been taken on RQ."""
    env = await Env(dut).start()
    env.host.map(BASE, 4096)
    env.device.rq_sink.pause = True
    await Timer(100, "ns")
    waits = [env.axi.start_write(BASE + 256 * k, bytes(64), id_=k) for k in range(8)]
    await Timer(1, "us")
    # The multiplexer holds what it has taken: two beats.
    given = sum(event.is_set() for event, _ in waits)
    assert given <= 2, f"{given} B before RQ moved"
    env.device.rq_sink.pause = False
    for event, _ in waits:
        await event.wait()
    await Timer(1, "us")
    env.check()


@cocotb.test(timeout_time=100, timeout_unit="us")
async def no_strobe_sends_nothing(dut: Any) -> None:
    """A burst without any strobe gets B and no TLP."""
    env = await Env(dut).start()
    env.host.map(BASE, 4096)
    assert await env.axi.write(BASE, bytes(4 * env.bytes), strobes=bytes(4 * env.bytes)) == OKAY
    await Timer(1, "us")
    assert not env.host.writes
    env.check()


@cocotb.test(timeout_time=100, timeout_unit="us")
async def refused_bursts(dut: Any) -> None:
    """FIXED and WRAP bursts, and any burst while bus mastering is off, get SLVERR and send nothing."""
    env = await Env(dut).start()
    memory = env.host.map(BASE, 4096)
    before = bytes(memory)
    for burst in (0, 2):
        assert await env.axi.write(BASE, bytes(4 * env.bytes), burst=burst) == SLVERR
    await env.pci.clear_master()
    await Timer(200, "ns")
    assert await env.axi.write(BASE, bytes(8 * env.bytes)) == SLVERR
    await Timer(1, "us")
    assert memory == before and not env.host.writes
    await env.pci.set_master()
    await Timer(200, "ns")
    assert await env.axi.write(BASE, bytes(8 * env.bytes)) == OKAY
    await Timer(1, "us")
    assert memory[: 8 * env.bytes] == bytes(8 * env.bytes)
    env.check()


@cocotb.test(timeout_time=100, timeout_unit="us")
async def rq_stays_busy(dut: Any) -> None:
    """A stream of aligned writes keeps RQ busy: no more than one lost cycle a TLP."""
    env = await Env(dut, max_payload=256).start()
    env.host.map(BASE, 1 << 15)
    cycles = busy = 0
    waits = [env.axi.start_write(BASE + 1024 * k, bytes(1024), id_=k) for k in range(16)]

    async def count() -> None:
        nonlocal cycles, busy
        while True:
            await cocotb.triggers.RisingEdge(dut.clk)
            if int(dut.m_axis_rq_tready.value):
                cycles += 1
                busy += int(dut.m_axis_rq_tvalid.value)

    await waits[0][0].wait()
    task = cocotb.start_soon(count())
    await waits[-1][0].wait()
    task.cancel()
    env.check()
    cocotb.log.info("RQ busy %d of %d ready cycles", busy, cycles)
    assert busy >= 0.9 * cycles
