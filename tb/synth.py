"""`make synth`: LUTs, flip-flops and RAMs of the device by module, against the budget and the peers' bar.

The figures are those of Yosys `synth_xilinx -family xcup -noiopad -noclkbuf`. Totals are of a flattened
netlist; the table of modules is of one that keeps them apart, so its sum is larger. LC is Yosys's
estimate of logic cells; it leaves out LUTs used as RAM, which have a column of their own.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tb import yosys
from tb.tools import ROOT, ToolError

BUDGET = ROOT / "fpga" / "budget.toml"
TOLERANCE = 0.05
SYNTH = "synth_xilinx -family xcup -noiopad -noclkbuf"
STAT = "tee -q -o {out}/stat.json stat -tech xilinx -json"
#: Modules of dmmu_core that the peers' figure has no counterpart of: the cut is what is left. The lookup
#: pipelines hold the accesses of the accelerators, wbuf their write data; the peers leave both to the caller.
NOT_IN_CUT = ("dmmu_channel", "dmmu_wbuf", "dmmu_merge", "dmmu_stats")
#: VTP's two-port service: LC, RAMB36 and MHz (Yosys and nextpnr-ecp5, as here), and what this design aims at.
BAR = {"lc": 2432, "ramb36": 12}
AIM = {"lc": 1500}
#: LUTs that one cell of distributed RAM takes.
LUTRAM = {"RAM32M": 4, "RAM32M16": 8, "RAM64M": 4, "RAM64M8": 8, "RAM32X1D": 2, "RAM64X1D": 2, "RAM64X1S": 1}


@dataclass(frozen=True)
class Area:
    """What a netlist is made of. `ramb36` counts a RAMB18 as a half; `lutram` are LUTs used as RAM."""

    lut: int = 0
    lc: int = 0
    ff: int = 0
    lutram: int = 0
    ramb36: float = 0
    carry: int = 0

    def __add__(self, other: Area) -> Area:
        return Area(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def times(self, n: int) -> Area:
        """The area of n copies."""
        return Area(*(getattr(self, f.name) * n for f in fields(self)))


def area_of(cells: Mapping[str, int], lc: int = 0) -> Area:
    """Area of cells by type."""

    def count(pattern: str) -> int:
        return sum(n for kind, n in cells.items() if re.fullmatch(pattern, kind))

    return Area(
        lut=count(r"LUT[1-6]"),
        lc=lc,
        ff=count(r"FD[RSCP]E"),
        lutram=sum(n * LUTRAM.get(kind, 0) for kind, n in cells.items()),
        ramb36=count(r"RAMB36E2") + count(r"RAMB18E2") / 2,
        carry=count(r"CARRY[48]"),
    )


@dataclass(frozen=True)
class Module:
    """One module of the hierarchy, with everything below it; `count` instances in its parent."""

    name: str
    depth: int
    count: int
    area: Area


def flat(name: str, files: str, top: str, boxes: Sequence[str] = (), rtl: Path = ROOT / "rtl") -> Area:
    """Area of a flattened netlist; the modules in `boxes` stay empty and count nothing."""
    script = [f"hierarchy -check -top {top}"]
    script += [f"select -assert-min 1 =*{b}*; blackbox =*{b}*" for b in boxes]
    script += [f"{SYNTH} -flatten -top {top}", STAT]
    stat = yosys.statistics(yosys.run(name, files, script, ["stat.json"], rtl))
    design = stat["design"]
    return area_of(design["num_cells_by_type"], int(design["estimated_num_lc"]))


def hierarchy(name: str, files: str, top: str, rtl: Path = ROOT / "rtl") -> list[Module]:
    """Area module by module, top first, parents before their parts."""
    script = [f"hierarchy -check -top {top}", f"{SYNTH} -top {top}", STAT]
    modules = yosys.statistics(yosys.run(name, files, script, ["stat.json"], rtl))["modules"]
    by_name = {n.removeprefix("\\"): m for n, m in modules.items()}
    rows: list[Module] = []

    def walk(module: str, depth: int, count: int) -> Area:
        cells: dict[str, int] = by_name[module]["num_cells_by_type"]
        at = len(rows)
        own = area_of(cells)
        for kind, n in sorted(cells.items()):
            if kind.removeprefix("\\") in by_name:
                own += walk(kind.removeprefix("\\"), depth + 1, n).times(n)
        rows.insert(at, Module(plain(module), depth, count, own))
        return own

    walk(top, 0, 1)
    return rows


def plain(name: str) -> str:
    """The source's name of a module that Yosys named after its parameters."""
    m = re.fullmatch(r"\$paramod(?:\$[0-9a-f]+)?\\(\w+).*", name)
    return m[1] if m else name


def over_budget(part: str, figures: Mapping[str, float], budget: Mapping[str, Any]) -> list[str]:
    """One line for each figure of a part that is worse than its budget by more than the tolerance.

    `fmax_mhz` may not fall, the others may not grow.
    """
    out = []
    for key, allowed in budget.get(part, {}).items():
        value = figures[key]
        worse = value < allowed * (1 - TOLERANCE) if key == "fmax_mhz" else value > allowed * (1 + TOLERANCE)
        if worse:
            out.append(f"{BUDGET.relative_to(ROOT)}: {part}.{key} is {value:g}, allowed {allowed:g} and 5 %")
    return out


def load_budget() -> dict[str, Any]:
    """The budget file. Raises ToolError when it is missing or is not TOML."""
    try:
        return tomllib.loads(BUDGET.read_text())
    except (OSError, tomllib.TOMLDecodeError) as e:
        raise ToolError(f"{BUDGET.relative_to(ROOT)}: {e}") from None


def device() -> tuple[str, str]:
    """(file list, top) of the largest design there is: with the PCIe endpoint, else without."""
    return (
        ("fpga_core", "fpga_core")
        if (ROOT / "rtl" / "fpga_core.f").exists()
        else ("svm_device", "svm_device")
    )


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    p = argparse.ArgumentParser(prog="python -m tb.synth", description=(__doc__ or "").splitlines()[0])
    p.add_argument("--depth", type=int, default=3, help="levels of the hierarchy to show (3)")
    p.add_argument("--core-only", action="store_true", help="the MMU core and the cut, not the whole device")
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; 1 when a figure is over its budget."""
    from rich.console import Console
    from rich.table import Table

    args = parse(argv)
    console = Console()

    def table(title: str, first: str) -> Table:
        t = Table(title=title, title_justify="left")
        t.add_column(first)
        for column in ("LUT", "LC", "FF", "LUT RAM", "RAMB36", "carry"):
            t.add_column(column, justify="right")
        return t

    def cells(a: Area) -> list[str]:
        return [f"{v:g}" if v else "-" for v in (a.lut, a.lc, a.ff, a.lutram, a.ramb36, a.carry)]

    try:
        budget = load_budget()
        files, top = ("dmmu_core", "dmmu_core") if args.core_only else device()
        with console.status(f"Yosys: {top}, module by module (minutes)"):
            rows = hierarchy(f"{top}-modules", files, top)
        t = table(f"{SYNTH}: {top}, modules kept apart", "module")
        for row in rows:
            if row.depth <= args.depth:
                times = f" x{row.count}" if row.count > 1 else ""
                t.add_row("  " * row.depth + row.name + times, *cells(row.area))
        console.print(t)
        with console.status("Yosys: dmmu_core, flattened (minutes)"):
            totals = {"core": flat("core", "dmmu_core", "dmmu_core")}
        with console.status("Yosys: the cut, flattened"):
            totals["cut"] = flat("cut", "dmmu_core", "dmmu_core", NOT_IN_CUT)
    except ToolError as e:
        print(e, file=sys.stderr)
        return 1
    t = table(f"{SYNTH} -flatten", "netlist")
    t.add_row("dmmu_core", *cells(totals["core"]))
    t.add_row("cache, miss table, invalidation, drain tracking", *cells(totals["cut"]))
    t.add_row(
        "VTP two-port service: no PASID, permission, range, drain",
        "3265",
        str(BAR["lc"]),
        "5711",
        "?",
        "12",
        "?",
    )
    console.print(t)
    lc = totals["cut"].lc
    bar, aim = BAR["lc"], AIM["lc"]
    console.print(
        f"LC of the second line: {lc / bar:.2f} of the bar of {bar}, {lc / aim:.2f} of the aim of {aim}"
    )
    bad = [line for part, a in totals.items() for line in over_budget(part, vars(a), budget)]
    for line in bad:
        print(line, file=sys.stderr)
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
