"""dmmu_core against its contract: cocotb tests in Verilator and Icarus, several configurations."""

from __future__ import annotations

import pytest

from tb import runner

DEFAULT: dict[str, int] = {}
WIDE = {"DATA_W": 512}
SMALL = {"DATA_W": 64, "SETS": 16, "WAYS": 2, "PARK": 8, "MSHRS": 4, "TRACK": 8}

#: Tests that say the most in a four-state simulator, where an undriven or uncleared bit shows.
ICARUS = r"hole_|malformed|detach_ends|parked_write_data|page_costs|same_id|contract_2_completion"

RUNS = {
    "verilator-hits": ("cocotb_core_hits", "verilator", DEFAULT, None),
    "verilator-faults": ("cocotb_core_faults", "verilator", DEFAULT, None),
    "verilator-invalidation": ("cocotb_core_inv", "verilator", DEFAULT, None),
    "verilator-holes": ("cocotb_core_holes", "verilator", DEFAULT, None),
    "verilator-lists": ("cocotb_core_lists", "verilator", DEFAULT, None),
    "verilator-stats": ("cocotb_core_stats", "verilator", DEFAULT, None),
    "icarus-stats": ("cocotb_core_stats", "icarus", DEFAULT, "latencies"),
    "verilator-stress": ("cocotb_core_stress", "verilator", DEFAULT, None),
    "icarus-512-hits": (
        "cocotb_core_hits",
        "icarus",
        WIDE,
        r"axi_master|attributes|back_pressure|malformed|hit_leaves",
    ),
    "icarus-512-stress": ("cocotb_core_stress", "icarus", WIDE, r"host/round=0"),
    "verilator-small-stress": ("cocotb_core_stress", "verilator", SMALL, None),
    "verilator-small-faults": (
        "cocotb_core_faults",
        "verilator",
        SMALL,
        r"32_faults|64_requests|64_writes|strongest|more_pages|long_parked|parked_write|success_without|detach_ends",
    ),
    "icarus-hits": ("cocotb_core_hits", "icarus", DEFAULT, ICARUS),
    "icarus-faults": ("cocotb_core_faults", "icarus", DEFAULT, ICARUS),
    "icarus-invalidation": ("cocotb_core_inv", "icarus", DEFAULT, ICARUS),
    "icarus-holes": ("cocotb_core_holes", "icarus", DEFAULT, ICARUS),
}


def _params() -> list:
    marks = {"icarus": pytest.mark.icarus, "verilator": ()}
    return [pytest.param(name, marks=marks[sim]) for name, (_, sim, _, _) in RUNS.items()]


@pytest.mark.parametrize("run", _params())
def test_core(run: str) -> None:
    module, sim, parameters, only = RUNS[run]
    bench = runner.core_bench(module)
    runner.run(f"tb.{module}", sim, parameters, only, name=run, bench=bench).check()
