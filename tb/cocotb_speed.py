"""cocotb side of speed.py."""

import json
import os
from pathlib import Path

import cocotb
import numpy as np

from tb import speed


@cocotb.test()
async def table_host(dut: object) -> None:
    """Runs the workload that speed.py left and writes its figures."""
    d = Path(os.environ["SVM_SPEED_DIR"])
    work = np.fromfile(d / "work.bin", "<u8").reshape(-1, 4)
    table = np.fromfile(d / "map.bin", speed.MAP_DTYPE)
    with speed.new_world(int(os.environ["SVM_SEED"]), int(os.environ["SVM_DATA_W"])) as w:
        host = speed.TableHost(w, work, table)
        watch = speed.Stopwatch()
        await w.run_cocotb(dut)
        result = speed.figures(w, host, watch)
    Path(os.environ["SVM_RESULT"]).write_text(json.dumps(result))
