"""The PCIe endpoint's parts against the UltraScale+ model and a root complex, at 128, 256 and 512 bits."""

from __future__ import annotations

import os

import pytest

from tb import runner

PARAMETERS = {"LOG_TAGS": 6, **runner.PCIE_PARAMETERS}


@pytest.mark.parametrize("part", ["bar", "wr", "rd", "msix"])
@pytest.mark.parametrize("width", [128, 256, 512])
def test_pcie(width: int, part: str) -> None:
    runner.run(
        f"tb.cocotb_pcie_{part}",
        parameters={"DATA_W": width, **PARAMETERS},
        test_filter=os.environ.get("PCIE_FILTER"),
        env=runner.PCIE_ENV,
        bench=runner.PCIE,
    ).check()
