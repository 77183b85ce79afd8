"""`make bench`: the device's cycles and the simulation's speed, each beside a bar.

Cycles come from the RTL of the MMU core (tb/cocotb_core_bench.py). Speeds are ratios of CPU seconds,
measured side by side in one run: the same RTL, bus and faults under a C++ main without Python, as a
library stepped from Python, and under cocotb. Exits 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import sys

from rich.console import Console
from rich.table import Table

from tb import bench_core, bench_pcie, build, speed

DEFAULT_TRACE = build.ROOT / "traces" / "sort.svmt"
#: Of raw C++, with cocotb attached, on the default workload.
ATTACHED_BAR = 0.9


def main(argv: list[str] | None = None) -> int:
    """Measure, print the tables, write build/bench.json; 1 when a bar is missed."""
    p = argparse.ArgumentParser(prog="tb.bench", description=__doc__.split("\n")[0])
    p.add_argument("--link", default="axi", choices=["axi", "pcie"], help="pcie: what the link carries")
    link = p.parse_args(argv).link
    console = Console(width=None if sys.stdout.isatty() else 160)
    return bench_pcie.report(console) if link == "pcie" else device(console)


def device(console: Console) -> int:
    """The MMU core and the simulation's speed."""
    missed = 0
    cycles = Table(title="The MMU core, in cycles of its RTL", title_justify="left")
    for head in ("what", "measured", "bar", "", "best peer"):
        cycles.add_column(head)
    figures = bench_core.measure()
    for what, value, bar, peer, met in bench_core.rows(figures):
        cycles.add_row(what, value, bar, "ok" if met else "MISSED", peer)
        missed += not met
    console.print(cycles)

    speeds = Table(title="Simulation speed, in CPU seconds", title_justify="left")
    for head in ("workload", "flavour", "k cycles/s", "of raw C++", "faults/s", "bar"):
        speeds.add_column(head)
    report = {"cycles": figures, "speed": {}}
    for name, (work, table), bar in (
        ("default workload", speed.trace_work(DEFAULT_TRACE), ATTACHED_BAR),
        ("fault storm", speed.storm_work(), None),
    ):
        results = speed.compare(work, table)
        report["speed"][name] = results
        raw = results["raw C++"]
        for flavour, r in results.items():
            ratio = raw["cpu_seconds"] / r["cpu_seconds"]
            verdict = ""
            if bar and flavour == "cocotb":
                verdict = f">= {bar}  {'ok' if ratio >= bar else 'MISSED'}"
                missed += ratio < bar
            speeds.add_row(
                f"{name}: {r['cycles']} cycles, {r['faults']} faults" if flavour == "raw C++" else "",
                flavour,
                f"{r['cycles'] / r['cpu_seconds'] / 1e3:.0f}",
                f"{ratio:.2f}",
                f"{r['faults'] / r['cpu_seconds']:.0f}",
                verdict,
            )
    console.print(speeds)
    out = build.BUILD / "bench.json"
    out.write_text(json.dumps(report, indent=1))
    console.print(f"figures: {out}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
