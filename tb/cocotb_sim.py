"""The cocotb test behind `make sim`: one session, its options and its report in files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cocotb

from tb.session import Options, ProgressFile, Session


@cocotb.test()
async def replay(dut: Any) -> None:
    """Replay the recorded process; fails when anything is wrong."""
    options = options_of_run()
    await run(dut, Session(options, progress_of(options)))


def options_of_run() -> Options:
    """What tb.run_sim asks for."""
    return Options.load(os.environ["SVM_SIM_OPTIONS"])


def progress_of(options: Options) -> Callable[[int, int, int, int], None]:
    """Where tb.run_sim looks for progress."""
    return ProgressFile(Path(options.out) / "progress").write


async def run(dut: Any, session: Session) -> None:
    """Run a session to its end and write its report; fails when anything is wrong."""
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
