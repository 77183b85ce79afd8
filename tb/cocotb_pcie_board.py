"""The board's scenarios (sw_model/scenarios.py) over the PCIe co-simulation: what a card will be asked.

SVM_BOARD names them, separated by commas.
"""

from __future__ import annotations

import os
from typing import Any

import cocotb

from sw_model.scenarios import Plan, Rig, chosen
from tb.cocotb_pcie_sim import open_world
from tb.session import Options

SEED = 5
MAX_CYCLES = 2_000_000


@cocotb.test()
async def scenarios(dut: Any) -> None:
    """One round of each, behind an IOMMU, with the link's rules checked."""
    plan = Plan(chosen(os.environ["SVM_BOARD"].split(",")))
    world = await open_world(dut, Options(seed=SEED, memory=16))
    rig = Rig(world.transport, world.sched, SEED, rounds=1)
    world.watch(rig.phys)
    rig.spawn(plan.run)
    await world.run_cocotb(dut, MAX_CYCLES)
    world.check()
    world.close()
    assert plan.ok, plan.results
    for result in plan.results:
        cocotb.log.info("%s: %s", result.name, result.figures)
