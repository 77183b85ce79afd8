"""`make bench LINK=pcie`: payload on RQ and RC beside what the streams can carry, translation on and off.

Off means that the MMU core is left out (tb/dmmu_bypass.v) and the engine gets bus addresses. Both run the
same descriptors under the same host. A beat is one cycle of a 256-bit stream.
"""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from tb import build, runner

WIDTH = 256
#: Payload per cycle with translation, of that without.
BAR = 0.99


def measure(translation: str) -> dict[str, Any]:
    """Figures by Max_Payload and load. Raises AssertionError when the simulation fails."""
    bench = runner.FPGA if translation == "on" else runner.BYPASS
    path = build.BUILD / f"bench-pcie-{translation}.json"
    path.unlink(missing_ok=True)
    env = {**runner.PCIE_ENV, "PCIE_BENCH": str(path), "PCIE_TRANSLATION": translation}
    runner.run(
        "tb.cocotb_pcie_bench",
        parameters={"DATA_W": WIDTH, **runner.PCIE_PARAMETERS},
        env=env,
        bench=bench,
        name=f"bench-{translation}",
    ).check()
    return json.loads(path.read_text())


def report(console: Console) -> int:
    """Measure, print the table, write build/bench-pcie.json; 1 when a bar is missed."""
    figures = {translation: measure(translation) for translation in ("on", "off")}
    table = Table(title=f"Payload bytes on the {WIDTH}-bit streams", title_justify="left")
    for head in ("Max_Payload", "load", "a beat", "limit", "a cycle, on", "a cycle, off", "on / off", ""):
        table.add_column(head)
    missed = 0
    for size, loads in figures["on"].items():
        for load, on in loads.items():
            off = figures["off"][size][load]
            ratio = on["per cycle"] / off["per cycle"]
            ok = ratio >= BAR and on["per beat"] >= BAR * on["limit"]
            missed += not ok
            row = [f"{on[k]:.1f}" for k in ("per beat", "limit", "per cycle")]
            verdict = "ok" if ok else "MISSED"
            table.add_row(size, load, *row, f"{off['per cycle']:.1f}", f"{ratio:.3f}", verdict)
    console.print(table)
    out = build.BUILD / "bench-pcie.json"
    out.write_text(json.dumps(figures, indent=1))
    console.print(f"figures: {out}")
    return int(missed > 0)
