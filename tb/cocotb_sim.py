"""The cocotb test behind `make sim`: one session, its options and its report in files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cocotb

from tb.session import Options, ProgressFile, Session


@cocotb.test()
async def replay(dut: Any) -> None:
    """Replay the recorded process; fails when anything is wrong."""
    options = Options.load(os.environ["SVM_SIM_OPTIONS"])
    session = Session(options, ProgressFile(Path(options.out) / "progress").write)
    error: BaseException | None = None
    try:
        await session.world.run_cocotb(dut)
    except Exception as e:
        error = e
    session.finish(error)
    session.write()
    session.world.close()
    if error is not None:
        raise error
    assert session.report["ok"], session.report["checks"]
