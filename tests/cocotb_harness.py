"""cocotb side of test_harness.py: the same kernel threads attached to a simulator."""

import hashlib
import json
import os
from pathlib import Path

import cocotb
import numpy as np

from sw_model.sched import RandomStrategy, sleep
from tb.sim import HarnessConfig
from tb.world import World

BASE = 0x8000_0000
RING = 2 << 20  # byte offset of the stub's ring
START, SET_BASE, SET_NUMBER, SET_RING, COMPLETED = 0x100, 0x104, 0x108, 0x10C, 0x110


def digest(*arrays: np.ndarray) -> str:
    """A short hash of what the arrays hold."""
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()[:16]


class StubRun:
    """Drives the stub device with three kernel threads and notes the cycle of everything they see."""

    def __init__(self, seed: int, preset: str, number: int = 256, data_w: int = 128, **kw: object) -> None:
        self.world = World(
            seed=seed,
            config=HarnessConfig.preset(preset),
            strategy=RandomStrategy(seed, switch=0.3, slow=0.2, max_ns=400),
            device="stub",
            data_w=data_w,
            bus_base=BASE,
            mem_bytes=4 << 20,
            hang_cycles=100_000,
            **kw,  # type: ignore[arg-type]
        )
        self.number = number
        self.seen: list[tuple[str, int, int]] = []
        self.logs: list[tuple[np.ndarray, np.ndarray]] = []
        self.world.on_logs = lambda a, r: self.logs.append((a, r))
        self.world.spawn(self.main(), "main")
        self.world.spawn(self.records(), "records", daemon=True)
        self.world.spawn(self.ticker(), "ticker", daemon=True)

    async def main(self) -> None:
        """Starts the traffic, waits for its end."""
        t = self.world.transport
        for reg, value in ((SET_BASE, BASE), (SET_NUMBER, self.number), (SET_RING, BASE + RING), (START, 1)):
            await t.write_reg(reg, value)
        self.seen.append(("magic", await t.read_reg(0), t.now()))
        await t.wait_irq(2)
        self.seen.append(("done", await t.read_reg(COMPLETED), t.now()))

    async def records(self) -> None:
        """Counts record interrupts."""
        n = 0
        while True:
            await self.world.transport.wait_irq(0)
            n += 1
            self.seen.append(("record", n, self.world.transport.now()))

    async def ticker(self) -> None:
        """Sleeps for odd times."""
        while True:
            await sleep(777)
            self.seen.append(("tick", self.world.clock.now(), self.world.transport.now()))

    def result(self) -> dict:
        """What two runs must have in common."""
        accesses = np.concatenate([a for a, _ in self.logs])
        records = np.concatenate([r for _, r in self.logs])
        out = {
            "seen": self.seen,
            "accesses": len(accesses),
            "records": len(records),
            "digest": digest(accesses, records, self.world.memory),
            "stats": self.world.stats(),
            "wakes": self.world.wakes,
        }
        return json.loads(json.dumps(out))


@cocotb.test()
async def stub_traffic(dut: object) -> None:
    """Runs the stub twice in one simulation and leaves the results for the test that compares them."""
    out = []
    for preset in ("default", "stress"):
        run = StubRun(int(os.environ["SVM_SEED"]), preset, data_w=int(os.environ["SVM_DATA_W"]))
        await run.world.run_cocotb(dut)
        out.append(run.result())
        run.world.close()
    Path(os.environ["SVM_RESULT"]).write_text(json.dumps(out))


@cocotb.test()
async def timers(dut: object) -> None:
    """cocotb's own timers fire at their time, with the clock running and without."""
    from cocotb.triggers import ReadOnly, Timer
    from cocotb.utils import get_sim_time

    for attached in (False, True):
        world = World(device="stub", data_w=int(os.environ["SVM_DATA_W"])) if attached else None
        for ns in (1, 3, 5, 1000):
            t0 = get_sim_time("ns")
            c0 = world.cycle if world else 0
            await Timer(ns, unit="ns")
            assert get_sim_time("ns") == t0 + ns
            if world and ns == 1000:
                assert abs(world.cycle - c0 - 250) <= 20
        await ReadOnly()
        if world:
            world.close()
