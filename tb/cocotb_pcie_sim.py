"""The cocotb test behind `make sim LINK=pcie`: the session of tb.cocotb_sim with its device behind PCIe."""

from __future__ import annotations

from typing import Any

import cocotb

from sw_model.sched import RandomStrategy
from tb.cocotb_sim import options_of_run, progress_of, run
from tb.pcie_world import HIGH_BASE, LOW_BASE, PcieHarness, PcieWorld
from tb.session import Options, Session

#: Chances of an idle cycle on what the host drives and of back-pressure, by the bus preset.
PRESSES = {"fast": (0.0, 0.0), "default": (0.05, 0.05), "stress": (0.4, 0.4)}
LATENCIES = {"fast": (50, 50), "default": (100, 600), "stress": (20, 2000)}


async def open_world(dut: Any, o: Options) -> PcieWorld:
    """Bring up the link of a run. The seed chooses where host memory is, Max_Payload, RCB and the tags."""
    harness = PcieHarness(
        dut,
        seed=o.seed,
        memory_bytes=o.memory << 20,
        bus_base=HIGH_BASE if o.seed % 2 else LOW_BASE,
        iommu=o.iommu,
        max_payload=(256, 128, 512)[o.seed % 3],
        max_read=(512, 128, 4096)[o.seed % 3],
        extended_tag=o.seed % 4 < 2,
    )
    harness.host.rcb = (64, 128)[o.seed % 2]
    harness.host.latency = LATENCIES[o.config]
    await harness.start()
    harness.press(*PRESSES[o.config])
    return PcieWorld(harness, seed=o.seed, strategy=RandomStrategy(o.seed, 0.05))


@cocotb.test()
async def replay(dut: Any) -> None:
    """Replay the recorded process; fails when anything is wrong."""
    options = options_of_run()
    world = await open_world(dut, options)
    await run(dut, Session(options, progress_of(options), world))
