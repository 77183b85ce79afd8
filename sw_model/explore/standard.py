"""The standard set: every configuration run clean, every mutant found, on all processors, with fixed seeds.

What it finds is the same on every machine; only the seconds differ.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from sw_model.explore.config import configs, mutants
from sw_model.explore.line import Line
from sw_model.explore.runner import search
from sw_model.explore.shrink import shrink

STRATEGIES = ("random", "pct", "preempt", "dpor")
#: strategies whose every seed is run again and compared
SEEDED = ("random", "pct")
#: executions at most: of dpor for a small configuration, and of each other strategy for the whole stack
EXHAUST, SAMPLE = 60_000, 600
#: schedules at most of each strategy for a mutant, and of each behind the first that found it
FIND, CONFIRM = 4000, 1000
#: characters of a line; a longer one (a livelock) stays with the seed that found it
LONG = 200


@dataclass
class Clean:
    """A configuration that has to be clean. `counts`: schedules run by each strategy."""

    config: str
    stack: str
    exhausted: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    cut_short: int = 0
    longest: int = 0
    failure: str = ""
    line: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """No failure."""
        return not self.failure


@dataclass
class Found:
    """A mutant. `counts`: which schedule of each strategy found it; negative: how many it ran in vain."""

    mutant: str
    config: str
    counts: dict[str, int] = field(default_factory=dict)
    complete: list[str] = field(default_factory=list)  # strategies that ran everything in their bound in vain
    kind: str = ""
    text: str = ""
    switches: int = 0
    line: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """It was found."""
        return bool(self.kind)


def run_clean(name: str, budget: int = 0) -> Clean:
    """Exhaust a configuration by dpor; one that it is not for is sampled by the other strategies.

    Without a `budget` of executions one that is long to exhaust is sampled too.
    """
    config, start = configs()[name], time.perf_counter()
    out = Clean(name, config.stack)
    exhaust = config.exhaustive and (budget or not config.long)
    for strategy in ("dpor",) if exhaust else ("random", "pct", "preempt"):
        limit = budget or (EXHAUST if exhaust else SAMPLE)
        r = search(name, strategy, budget=limit, twice=strategy in SEEDED)
        out.counts[strategy] = r.schedules
        out.cut_short += r.blocked
        out.longest = max(out.longest, r.longest)
        out.exhausted |= r.complete and strategy == "dpor"
        if r.failure is not None:
            out.failure, out.line = f"{r.failure.kind}: {r.failure.text}", r.line
            break
    out.seconds = time.perf_counter() - start
    return out


def run_mutant(name: str, budget: int) -> Found:
    """Search for a mutant with every strategy; the shortest failure that shrinking gives."""
    m, start = mutants()[name], time.perf_counter()
    out, best = Found(name, m.config), None
    order = sorted(STRATEGIES, key=lambda s: s != m.strategy)
    for strategy in order:
        if strategy == "dpor" and not configs()[m.config].exhaustive:
            continue
        limit = budget if best is None else min(budget, CONFIRM)
        r = search(m.config, strategy, mutant=name, budget=limit, twice=strategy in SEEDED)
        out.counts[strategy] = r.schedules if r.failure else -r.schedules
        if r.failure is None:
            out.complete += [strategy] if r.complete else []
            continue
        small = shrink(m.config, r.failure, name)
        if best is None or small.switches < best.switches:
            best = small
            line = str(Line("", m.config, name, "choices", small.choices))
            out.line = line if len(line) <= LONG else r.line
    if best is not None:
        out.kind, out.text, out.switches = best.kind or "", best.text, best.switches
    out.seconds = time.perf_counter() - start
    return out


def _task(what: tuple[str, str, int]) -> Clean | Found:
    kind, name, budget = what
    return run_mutant(name, budget or FIND) if kind == "mutant" else run_clean(name, budget)


def run(tasks: list[tuple[str, str, int]], jobs: int) -> Iterator[Clean | Found]:
    """Run ("config" or "mutant", name, budget) tasks in `jobs` processes; results as they come."""
    if jobs == 1:
        yield from map(_task, tasks)
        return
    with ProcessPoolExecutor(jobs) as pool:
        for done in as_completed([pool.submit(_task, t) for t in tasks]):
            yield done.result()


def clean_configs() -> list[str]:
    """The configurations that have to be clean."""
    return [c.name for c in configs().values() if not c.open_bug]


def save(path: Path, results: list[Clean | Found]) -> None:
    """Write results as JSON, in the order of their names."""
    rows = {
        kind: [dataclasses.asdict(r) for r in sorted(found, key=lambda r: getattr(r, key))]
        for kind, key, found in (
            ("configs", "config", [r for r in results if isinstance(r, Clean)]),
            ("mutants", "mutant", [r for r in results if isinstance(r, Found)]),
        )
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n")


def load(path: Path) -> tuple[list[Clean], list[Found]]:
    """What save() wrote. FileNotFoundError when there is nothing."""
    rows = json.loads(path.read_text())
    return [Clean(**r) for r in rows["configs"]], [Found(**r) for r in rows["mutants"]]
