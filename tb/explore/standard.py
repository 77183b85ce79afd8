"""The standard set on the RTL, with fixed seeds: what `python -m tb.explore run` does, as data."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from sw_model.explore.config import configs, mutants
from sw_model.explore.line import Line
from sw_model.explore.runner import Outcome, search
from tb.explore.branch import Machine
from tb.explore.contract import CONFIGS
from tb.explore.mutants import DEVICE_MUTANTS
from tb.explore.rtl_world import library

#: random schedules at most: within FIND every bug is found, SAMPLE are run of a clean configuration
FIND, SAMPLE = 1500, 100
#: the configuration with device memory, and the bugs of today's kernels that it shows
DEVICE_MEMORY, LIVE = "dm_full", ("c2", "c3")
#: runs to shorten a failure
SHRINK = 150


@dataclass
class Row:
    """One result. `kind` is "clean" (has to end without a failure), "open" (an old generation of HMM), "live"
    (a bug of today's kernels, with device memory), "host" (a mutant of the full stack, found host-only and
    followed on the RTL) or "device" (a plant).

    `schedules`: how many were run to the failure, or in all; `exhausted`: of these, all those with one
    deviation at most. `failure` and `line` are empty without a failure.
    """

    kind: str
    name: str
    config: str
    about: str = ""
    schedules: int = 0
    exhausted: int = 0
    host: str = ""  # the line found host-only
    failure: str = ""
    text: str = ""
    switches: int = 0
    line: str = ""
    plant: str = ""
    file: str = ""
    entries: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """As it has to be."""
        return bool(self.failure) != (self.kind == "clean")


def line_of(m: Machine, out: Outcome) -> str:
    """The line that repeats a run of a machine."""
    return str(Line("", m.label, "", "choices", out.choices))


def tasks() -> list[tuple[str, str]]:
    """Kind and name of every row."""
    full = [c for c in configs().values() if c.stack == "full"]
    rows = [("clean", c.name) for c in (*CONFIGS.values(), *full) if not c.open_bug]
    rows += [("open", c.name) for c in full if c.open_bug]
    rows += [("live", name) for name in LIVE]
    rows += [("host", m.name) for m in mutants().values() if configs()[m.config] in full and m.patches]
    return rows + [("device", d.name) for d in DEVICE_MUTANTS]


def run_task(task: tuple[str, str]) -> Row:
    """One row."""
    start = time.perf_counter()
    row = _RUN[task[0]](task[1])
    row.seconds = time.perf_counter() - start
    return row


def _failed(row: Row, m: Machine, out: Outcome | None, shrink: int = SHRINK) -> Row:
    if out is not None and out.kind is not None:
        small = m.shrink(out, shrink) if shrink else out
        row.failure, row.text, row.switches = small.kind or "", small.text, small.switches
        row.line = line_of(m, small)
    return row


def _clean(name: str) -> Row:
    config = CONFIGS.get(name) or configs()[name]
    row = Row("clean", name, name, config.about)
    with Machine(name) as m:
        tree = m.search(1)
        row.exhausted = row.schedules = tree.schedules
        if tree.failure is None:
            tree = m.walk(SAMPLE)
            row.schedules += tree.schedules
        return _failed(row, m, tree.failure)


def _open(name: str) -> Row:
    config = configs()[name]
    row = Row("open", name, name, config.about, entries=(config.open_bug,))
    with Machine(name) as m:
        found = m.walk(FIND)
        row.schedules = found.schedules
        return _failed(row, m, found.failure)


def _live(name: str) -> Row:
    mutant = mutants()[name]
    row = Row("live", name, DEVICE_MEMORY, mutant.about, entries=mutant.entries)
    with Machine(DEVICE_MEMORY, name) as m:
        found = m.walk(FIND)
        row.schedules = found.schedules
        return _failed(row, m, found.failure)


def _host(name: str) -> Row:
    mutant = mutants()[name]
    row = Row("host", name, mutant.config, mutant.about, entries=mutant.entries)
    r = search(mutant.config, mutant.strategy, mutant=name, budget=3000, twice=False)
    row.schedules, row.host = r.schedules, r.line
    if r.failure is None:
        return row
    with Machine(mutant.config, name) as m:
        out: Outcome | None = m.follow(r.line)
        if out is not None and out.kind is None:
            # The RTL looks up at once: a schedule that needs it late is another one here.
            found = m.walk(FIND)
            row.schedules, out, row.host = found.schedules, found.failure, ""
        return _failed(row, m, out, shrink=0)


def _device(name: str) -> Row:
    d = next(d for d in DEVICE_MUTANTS if d.name == name)
    row = Row("device", name, d.config, d.about, plant=d.plant, file=d.file, entries=d.entries)
    with Machine(d.config, plant=d.plant) as m:
        found = m.walk(FIND)
        row.schedules = found.schedules
        return _failed(row, m, found.failure)


_RUN = {"clean": _clean, "open": _open, "live": _live, "host": _host, "device": _device}


def run(what: list[tuple[str, str]], jobs: int) -> Iterator[Row]:
    """Run tasks in `jobs` processes; rows as they come. Raises BuildError."""
    library()
    library(DEVICE_MUTANTS[0].plant)
    if jobs == 1:
        yield from map(run_task, what)
        return
    with ProcessPoolExecutor(jobs) as pool:
        for done in as_completed([pool.submit(run_task, t) for t in what]):
            yield done.result()


def save(path: Path, rows: list[Row]) -> None:
    """Write rows as JSON, in the order of tasks()."""
    order = tasks()
    rows = sorted(rows, key=lambda r: order.index((r.kind, r.name)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([dataclasses.asdict(r) for r in rows], indent=1) + "\n")


def load(path: Path) -> list[Row]:
    """What save() wrote. FileNotFoundError when there is nothing."""
    return [Row(**{**r, "entries": tuple(r["entries"])}) for r in json.loads(path.read_text())]
