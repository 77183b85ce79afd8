"""The open flow on parts small enough for every run; `make synth` and `make pnr` measure the whole core."""

from __future__ import annotations

import re

import pytest

from tb import gate_level, pnr, synth
from tb.tools import ROOT


def test_area_counts_every_kind_of_cell() -> None:
    cells = {
        "LUT2": 3,
        "LUT6": 4,
        "FDRE": 5,
        "FDSE": 1,
        "RAM32M16": 2,
        "RAMB18E2": 3,
        "RAMB36E2": 1,
        "CARRY4": 7,
    }
    assert synth.area_of(cells, 6) == synth.Area(lut=7, lc=6, ff=6, lutram=16, ramb36=2.5, carry=7)


@pytest.mark.parametrize("factor,over", [(1.0, False), (1.049, False), (1.051, True), (0.5, False)])
def test_area_may_grow_by_five_percent(factor: float, over: bool) -> None:
    budget = {"core": {"lc": 1000}}
    assert bool(synth.over_budget("core", {"lc": 1000 * factor}, budget)) is over


@pytest.mark.parametrize("factor,over", [(1.0, False), (0.951, False), (0.949, True), (2.0, False)])
def test_fmax_may_fall_by_five_percent(factor: float, over: bool) -> None:
    budget = {"pnr": {"fmax_mhz": 100.0}}
    assert bool(synth.over_budget("pnr", {"fmax_mhz": 100.0 * factor}, budget)) is over


def test_budget_names_figures_that_are_measured() -> None:
    budget = synth.load_budget()
    area = set(synth.Area.__dataclass_fields__)
    measured = {"core": area, "cut": area, "pnr": {*pnr.CELLS.values(), "fmax_mhz"}}
    for part, figures in budget.items():
        assert set(figures) <= measured[part] and figures


def test_a_part_is_synthesized_and_routed() -> None:
    """The FIFO: the same area flat and by module, and a slowest path between two of its registers."""
    area = synth.flat("test-fifo", "dmmu_core", "fifo")
    (row,) = synth.hierarchy("test-fifo-modules", "dmmu_core", "fifo")
    assert row.name == "fifo" and 0 < area.lut == row.area.lut and area.ff == row.area.ff
    run = pnr.route(pnr.netlist("fifo", ()), 1)
    assert run.fmax > 50 and re.match("some|full|wr_|rd_|gen_half", run.start) and run.stages > 1


def test_a_box_counts_nothing() -> None:
    whole = synth.flat("test-drain", "dmmu_core", "dmmu_merge")
    rest = synth.flat("test-drain-cut", "dmmu_core", "dmmu_merge", ["fifo"])
    assert 0 < rest.lut < whole.lut and rest.ff < whole.ff


def test_shell_of_the_netlist_connects_every_port() -> None:
    text = gate_level.shell()
    head, _, body = text.partition("\n);\n")
    ports = re.findall(r"(?:input|output) wire (?:\[[^\]]+\] )?(\w+),?\n", head + "\n")
    assert len(ports) == 96 and all(f".{p}({p})" in body for p in ports)
    assert (ROOT / "rtl" / "mmu" / "dmmu_core.v").read_text().startswith(head)
