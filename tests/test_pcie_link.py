"""The device behind PCIe, at 128, 256 and 512 bits: the main job by TLPs, and a host that misbehaves."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tb import run_sim, runner

#: What depends on the width: the streams, their errors' descriptors, the ring port, the AtomicOp's packet.
NARROW = (
    "bad_completion/kind=(ur|headless)|function_level_reset/reads=late|compare_and_swap|bus_master_off$"
    "|matrix.*limits=1"
)


@pytest.mark.parametrize(("width", "tests"), [(128, None), (256, NARROW), (512, NARROW)], ids=[128, 256, 512])
def test_errors(width: int, tests: str | None) -> None:
    runner.run(
        "tb.cocotb_pcie_link",
        parameters={"DATA_W": width, **runner.PCIE_PARAMETERS},
        test_filter=os.environ.get("PCIE_FILTER", tests),
        env=runner.PCIE_ENV,
        bench=runner.FPGA,
    ).check()


@pytest.mark.parametrize(
    ("width", "seed", "config"), [(128, 1, "stress"), (256, 2, "default"), (512, 3, "stress")]
)
def test_recorded_program(width: int, seed: int, config: str, tmp_path: Path) -> None:
    """`make sim LINK=pcie`."""
    args = ["--link", "pcie", "--data-w", str(width), "--seed", str(seed), "--config", config]
    assert run_sim.main([*args, "--limit", "400", "--pressure", "2", "--out", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["workload"]["accesses"] == 400 and report["device"]["faults"]


def test_link_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_sim.main(["--link", "pcie", "--data-w", "64"])
    assert "--link pcie runs on Verilator under cocotb" in capsys.readouterr().err
