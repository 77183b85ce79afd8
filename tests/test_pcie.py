"""The PCIe endpoint's parts against the UltraScale+ model and a root complex, at 128, 256 and 512 bits."""

from __future__ import annotations

import os

import pytest

from tb import runner

#: A completion times out after 8 ticks of 512 cycles, 16 us: short enough to wait for.
PARAMETERS = {"LOG_TAGS": 6, "LOG_TICK": 9, "TIMEOUT": 8}


@pytest.mark.parametrize("part", ["bar", "wr", "rd", "msix"])
@pytest.mark.parametrize("width", [128, 256, 512])
def test_pcie(width: int, part: str) -> None:
    runner.run(
        f"tb.cocotb_pcie_{part}",
        parameters={"DATA_W": width, **PARAMETERS},
        test_filter=os.environ.get("PCIE_FILTER"),
        env={"PYTHONWARNINGS": f"{runner.FILTERS},ignore::DeprecationWarning,ignore::FutureWarning"},
        bench=runner.PCIE,
    ).check()
