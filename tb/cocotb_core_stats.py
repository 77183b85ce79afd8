"""dmmu_stats: totals and maxima are those of the events that went in."""

from __future__ import annotations

import random
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge

from sw_model.device_interface import Counter

T = {"timeout_time": 400, "timeout_unit": "us"}
#: Counters that take more than one event a cycle, by the port that gives their number.
SEVERAL = {
    Counter.ERRORS: "errors",
    Counter.INVALIDATED: "invalidated",
    Counter.STALL_PARK: "stall_park",
    Counter.STALL_BUS: "stall_bus",
}
LATENCIES = {
    "fault": (Counter.FAULT_LATENCY_SUM, Counter.FAULT_LATENCY_MAX),
    "inv": (Counter.INV_LATENCY_SUM, Counter.INV_LATENCY_MAX),
}
ROUND = 40


async def start(dut: Any) -> None:
    """Clock and reset, nothing counted, totals cleared."""
    for name in ("event_in", "errors", "invalidated", "stall_park", "stall_bus", "addr"):
        dut[name].value = 0
    for name in LATENCIES:
        dut[f"{name}_done"].value = 0
        dut[f"{name}_latency"].value = 0
    dut.rst.value = 1
    Clock(dut.clk, 4, unit="ns").start(start_high=False)
    await ClockCycles(dut.clk, 3)
    dut.rst.value = 0
    await ClockCycles(dut.clk, ROUND)


async def read(dut: Any, counter: int) -> int:
    """A counter as software sees it."""
    dut.addr.value = int(counter)
    await ClockCycles(dut.clk, 2)
    await RisingEdge(dut.clk)
    return int(dut.data.value)


@cocotb.test(**T)
@cocotb.parametrize(density=[1.0, 0.3])
async def test_every_event_is_counted_once(dut: Any, density: float) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    await start(dut)
    expected = dict.fromkeys(Counter, 0)
    single = [c for c in range(21) if c not in SEVERAL]
    for _ in range(1000):
        bits = sum(1 << c for c in single if rng.random() < density)
        dut.event_in.value = bits
        for c in single:
            expected[c] += bits >> c & 1
        for c, port in SEVERAL.items():
            most = 31 if c == Counter.INVALIDATED else 3
            n = (most if density == 1.0 else rng.randint(0, most)) if rng.random() < density else 0
            dut[port].value = n
            expected[c] += n if c == Counter.INVALIDATED else n.bit_count()
        await RisingEdge(dut.clk)
    dut.event_in.value = 0
    for port in SEVERAL.values():
        dut[port].value = 0
    await ClockCycles(dut.clk, ROUND)
    for c in (*single, *SEVERAL):
        assert await read(dut, c) == expected[c], f"{Counter(c).name}"


@cocotb.test(**T)
@cocotb.parametrize(pace=["every cycle", "now and then"])
async def test_latencies_are_summed_and_the_largest_is_kept(dut: Any, pace: str) -> None:
    """A rising row, small ones, ones around the carry between the halves of a sum, the largest."""
    rng = random.Random(cocotb.RANDOM_SEED)
    await start(dut)
    total, most = dict.fromkeys(LATENCIES, 0), dict.fromkeys(LATENCIES, 0)
    for limit in (0, 100, 0x1_0010, 0xFFFF_FFFF):
        for i in range(400 if limit else 9):
            for name in LATENCIES:
                done = pace == "every cycle" or rng.random() < 0.3
                latency = rng.choice((limit, limit - 1, rng.randint(0, limit))) if limit else i
                dut[f"{name}_done"].value = done
                dut[f"{name}_latency"].value = latency
                if done:
                    total[name] += latency
                    most[name] = max(most[name], latency)
            await RisingEdge(dut.clk)
        for name in LATENCIES:
            dut[f"{name}_done"].value = 0
        await ClockCycles(dut.clk, ROUND)
        for name, (sums, largest) in LATENCIES.items():
            assert await read(dut, sums) == total[name], f"{name}: sum"
            assert await read(dut, largest) == most[name], f"{name}: largest"
