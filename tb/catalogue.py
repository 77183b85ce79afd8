"""Writes docs/catalogue.md from the mutants' own words and the results of `make explore`."""

from __future__ import annotations

import sys

from sw_model.explore.catalogue import UNEXPRESSED
from sw_model.explore.config import configs, mutants
from sw_model.explore.generations import number
from sw_model.explore.standard import LONG, STRATEGIES, Clean, Found, load
from tb.explore.standard import Row
from tb.explore.standard import load as load_rtl
from tb.tools import ROOT

DOC = ROOT / "docs" / "catalogue.md"
HOST = ROOT / "build" / "explore" / "host.json"
RTL = ROOT / "build" / "explore" / "rtl.json"

HEAD = """# The catalogue of bugs

Written by `make explore` from the mutants' files and what it found; fixed seeds, so that it is the same
everywhere. [explore.md](explore.md) says how the explorer works and how to add to it.

Every row is a bug that can be switched on, alone. B: the patch "mm/hmm: use reference counting for HMM
struct" as posted in January 2019; F: what later fixes to mm/hmm.c and mm/mmu_notifier.c repaired; D: bugs
of drivers; C: bugs of today's kernels ([findings](findings/README.md)); the others have names. `found by`
gives the number of the first schedule that failed, for each strategy; `-` means that its budget did not
show it. `switches` counts the context switches of the shortest failing schedule, which `make replay
LINE='...'` shows as a timeline.
"""

FIXED = """
## The fixed code

The same configurations without a bug: exhausted by `dpor` (one schedule of each class of equivalent ones), or
run with the number of schedules given. All are clean.

"""


def cell(text: str) -> str:
    """Text that does not end a table's cell."""
    return text.replace("|", "\\|").replace("\n", " ")


def table(head: tuple[str, ...], rows: list[list[str]], numbers: int = 0) -> str:
    """A Markdown table; the last `numbers` columns are aligned right."""
    rule = ["---"] * (len(head) - numbers) + ["---:"] * numbers
    return "".join("| " + " | ".join(r) + " |\n" for r in ([*head], rule, *rows))


def group(found: Found) -> str:
    """The heading under which a mutant stands."""
    entries = mutants()[found.mutant].entries
    return entries[0][0] if entries else "other"


def mutant_row(r: Found) -> list[str]:
    """One row."""
    m = mutants()[r.mutant]
    by = ", ".join(f"{s} {r.counts[s] if r.counts[s] > 0 else '-'}" for s in STRATEGIES if s in r.counts)
    name = " ".join(m.entries) or r.mutant
    return [name, cell(m.about), cell(m.reference), r.kind, by, str(r.switches), f"`{r.line}`"]


def clean_row(r: Clean) -> list[str]:
    """One row."""
    what = ", ".join(f"{s} {n}" for s, n in r.counts.items())
    about, every = cell(configs()[r.config].about), "all" if r.exhausted else ""
    return [r.config, about, r.stack, every, what, str(r.cut_short), str(r.longest)]


TITLES = {
    "B": "The reference counting patch",
    "F": "Later fixes",
    "D": "Drivers",
    "C": "Kernels of today",
    "other": "Rules of the protocol, broken one at a time",
}
COLUMNS = (
    "bug",
    "what shows",
    "reference",
    "oracle",
    "found by, after schedules",
    "switches",
    "shortest schedule",
)


DEVICE = """
## The device

Bugs planted in the RTL, each found by random schedules of the Verilated device
([explore-rtl.md](explore-rtl.md)); the functional device is the judge.

"""
HOST_ON_RTL = """
## Bugs of the host, on the RTL

The same mutants with the Verilated device: `search` is the number of random schedules of the RTL until it
fails; `followed` means that the schedule that fails host-only was run on the RTL and fails there.

"""


def rtl_line(r: Row) -> str:
    """The line of a row, or what to run where it is long."""
    return f"`{r.line}`" if len(r.line) <= LONG else ""


def device_row(r: Row) -> list[str]:
    """One row."""
    rule = ", ".join(r.entries)
    return [cell(r.about), rule, r.file, r.plant, r.failure, str(r.schedules), str(r.switches), rtl_line(r)]


def host_row(r: Row) -> list[str]:
    """One row."""
    how = "followed" if r.host else f"search {r.schedules}"
    what = cell(r.text) if r.kind != "open" else f"{r.config}: {cell(r.text)}"
    return [" ".join(r.entries) or r.name, what, r.failure, how, rtl_line(r)]


def render_rtl(rows: list[Row]) -> str:
    """What was explored on the RTL."""
    head = (
        "what shows",
        "rule of the contract",
        "file",
        "plant",
        "oracle",
        "schedules",
        "switches",
        "schedule",
    )
    out = DEVICE + table(head, [device_row(r) for r in rows if r.kind == "device"])
    head = ("bug", "what the device does", "oracle", "found", "schedule")
    out += HOST_ON_RTL + table(head, [host_row(r) for r in rows if r.kind in ("open", "live", "host")])
    clean = [[r.config, cell(r.about), str(r.exhausted), str(r.schedules)] for r in rows if r.kind == "clean"]
    head = ("configuration", "what runs", "all of one deviation", "schedules")
    return out + "\n## The fixed code on the RTL\n\nAll are clean.\n\n" + table(head, clean, 2)


def render(clean: list[Clean], found: list[Found], rtl: list[Row]) -> str:
    """The document."""
    out = [HEAD]
    for key, title in TITLES.items():
        rows = [
            mutant_row(r) for r in sorted(found, key=lambda r: number(mutants()[r.mutant])) if group(r) == key
        ]
        if rows:
            out.append(f"\n## {title}\n\n{table(COLUMNS, rows)}")
    if UNEXPRESSED:
        out.append(
            "\n## Not expressed\n\n" + table(("bug", "why"), [[e, cell(w)] for e, w in UNEXPRESSED.items()])
        )
    head = ("configuration", "what runs", "stack", "exhausted", "schedules", "cut short", "longest")
    out.append(FIXED + table(head, [clean_row(r) for r in clean], 2))
    out.append(render_rtl(rtl))
    return "".join(out)


def main() -> int:
    """Write the document; 1 when there are no results."""
    try:
        text = render(*load(HOST), load_rtl(RTL))
    except FileNotFoundError as e:
        print(f"catalogue: no {e.filename}: run `make explore` first", file=sys.stderr)
        return 1
    DOC.write_text(text)
    print(f"wrote {DOC.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
