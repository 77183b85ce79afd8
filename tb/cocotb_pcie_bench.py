"""What the streams carry: payload per beat and per cycle, by access size and Max_Payload (tb.bench_pcie)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from sw_model.device_interface import WORK, Flag, Work
from sw_model.engine import Engine
from sw_model.pagetable import PAGE_SIZE
from sw_model.phys import PhysMem
from tb.pcie_rig import BASE, PASID, Rig
from tb.pcie_world import HIGH_BASE, PcieHarness, PcieWorld

PAGES = 64
LOG2_WORK = 10
#: Bytes of the descriptor in front of a payload: RQ 4 dwords, RC 3.
RQ_HEADER, RC_HEADER = 16, 12
#: Accesses and bytes of each measurement.
LOADS = {64: 512, 256: 384, 4096: 48}
MEMORY_WRITE = 1
FIRST_DATA_TAG = 5
#: Share of the transfers at either end that is not measured.
RAMP = 8


class Meter:
    """Watches one stream: beats and payload of the packets of some pages, those of rings left out."""

    def __init__(self, harness: PcieHarness, write: bool, pages: frozenset[int]) -> None:
        """`pages`: bus page numbers of the data."""
        self.dut, self.write, self.pages = harness.dut, write, pages
        self.width = harness.bytes
        #: (cycle, beats, payload bytes) of each packet
        self.packets: list[tuple[int, int, int]] = []

    async def run(self) -> None:
        """Sample every cycle."""
        dut = self.dut
        name = "m_axis_rq" if self.write else "s_axis_rc"
        valid, ready, last, data = (
            getattr(dut, f"{name}_{s}") for s in ("tvalid", "tready", "tlast", "tdata")
        )
        beats = cycle = payload = 0
        while True:
            await RisingEdge(dut.clk)
            cycle += 1
            if not (int(valid.value) and int(ready.value)):
                continue
            if not beats:
                payload = self.payload(int(data.value))
            beats += 1
            if int(last.value):
                if payload:
                    self.packets.append((cycle, beats, payload))
                beats = 0

    def payload(self, head: int) -> int:
        """Data bytes of a packet by its descriptor; 0 for what is not measured."""
        if self.write:
            kind, words = head >> 75 & 0xF, head >> 64 & 0x7FF
            page = (head & (1 << 64) - 1) >> 12
            return words * 4 if kind == MEMORY_WRITE and page in self.pages else 0
        return (head >> 32 & 0x7FF) * 4 if head >> 64 & 0xFF >= FIRST_DATA_TAG else 0

    def figures(self, size: int, max_payload: int) -> dict[str, float]:
        """Payload per beat and per cycle of the steady part, and the stream's limit, in bytes."""
        n = len(self.packets) // RAMP
        part = self.packets[n : len(self.packets) - n]
        beats = sum(b for _, b, _ in part)
        moved = sum(p for _, _, p in part)
        cycles = part[-1][0] - part[0][0] + part[0][1]
        header, largest = (RQ_HEADER if self.write else RC_HEADER), min(size, max_payload)
        limit = largest / -(-(header + largest) // self.width)
        return {"per beat": moved / beats, "per cycle": moved / cycles, "limit": limit, "packets": len(part)}


def loads(size: int, write: bool, va: np.ndarray) -> np.ndarray:
    """Descriptors that move `size` bytes each over the pages at `va`."""
    n = LOADS[size]
    per_page = PAGE_SIZE // size
    at = np.arange(n)
    where = va[at // per_page % len(va)] + (at % per_page * size).astype(np.uint64)
    op = np.full(n, int(Work.FILL if write else Work.READ), np.uint64)
    return WORK.pack(op=op, flags=Flag.COMPLETE, pasid=PASID, len=size, va=where, data=0x55)


async def measure(harness: PcieHarness, engine: Engine, va: np.ndarray, bus: np.ndarray) -> dict[str, Any]:
    """Every size in both directions over pages at `va`, whose bus addresses are `bus`. A kernel thread."""
    out = {}
    pages = frozenset((bus >> np.uint64(12)).tolist())
    for write in (True, False):
        for size in LOADS:
            meter = Meter(harness, write, pages)
            task = cocotb.start_soon(meter.run())
            await engine.run(loads(size, write, va))
            task.cancel()
            out[f"{'write' if write else 'read'} {size}"] = meter.figures(size, harness.payload)
    return out


async def with_driver(harness: PcieHarness) -> dict[str, Any]:
    """Translation on, the cache warm."""

    async def body(rig: Rig) -> dict[str, Any]:
        await rig.warm()
        va = (BASE + np.arange(PAGES) * PAGE_SIZE).astype(np.uint64)
        bus = np.array([rig.bus(p) for p in range(PAGES)], np.uint64)
        return await measure(harness, rig.engine, va, bus)

    return await Rig(harness, pages=PAGES, log2_work=LOG2_WORK).run(body)


async def without(harness: PcieHarness) -> dict[str, Any]:
    """Translation off: the bypass in place of the MMU core, the engine given bus addresses."""
    world = PcieWorld(harness)
    phys = PhysMem(harness.memory)
    world.watch(phys)
    engine = Engine(world.transport, phys, world.sched, log2_work=LOG2_WORK, log2_done=LOG2_WORK)
    out: dict[str, Any] = {}

    async def main() -> None:
        await engine.probe()
        first = phys.alloc_contig(PAGES)
        bus = (harness.bus_base + (first + np.arange(PAGES)) * PAGE_SIZE).astype(np.uint64)
        out.update(await measure(harness, engine, bus, bus))
        await engine.stop()

    world.spawn(main(), "main")
    await world.run_cocotb(harness.dut)
    return out


async def link(dut: Any, max_payload: int) -> PcieHarness:
    """A host that answers at once and never splits below Max_Payload."""
    harness = PcieHarness(
        dut,
        memory_bytes=8 << 20,
        bus_base=HIGH_BASE,
        max_payload=max_payload,
        max_read=512,
        extended_tag=True,
    )
    harness.host.latency = (100, 100)
    harness.host.split = lambda tlp, data: whole(harness, tlp, data)
    return await harness.start()


def whole(harness: PcieHarness, tlp: Any, data: bytes) -> list[Any]:
    """Completions as large as they may be."""
    host = harness.host
    rcb, host.rcb = host.rcb, host.max_payload
    try:
        return type(host).split(host, tlp, data)
    finally:
        host.rcb = rcb


@cocotb.test()
@cocotb.parametrize(max_payload=[256, 512])
async def bench(dut: Any, max_payload: int) -> None:
    """Add the figures to the file PCIE_BENCH."""
    harness = await link(dut, max_payload)
    body = with_driver if os.environ["PCIE_TRANSLATION"] == "on" else without
    figures = await body(harness)
    harness.check()
    path = Path(os.environ["PCIE_BENCH"])
    out = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**out, str(max_payload): figures}))
