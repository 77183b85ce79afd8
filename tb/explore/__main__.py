"""`python -m tb.explore run|search|replay|bench|list`: the explorer over the Verilated device."""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from pathlib import Path

from sw_model.explore.config import configs, mutants
from sw_model.explore.line import commit, differs, parse
from sw_model.explore.runner import Outcome, replay, strategy_of
from sw_model.explore.strategies import Random
from sw_model.explore.timeline import render
from tb import build, plants
from tb.explore import standard
from tb.explore.branch import Machine
from tb.explore.contract import CONFIGS
from tb.explore.standard import line_of

_HERE = "rtl:"


def name_of(label: str) -> tuple[str, str | None, str | None]:
    """Configuration, mutant and plant of `[rtl:]config[+mutant][@plant]`, or of a mutant's name alone."""
    label, _, plant = label.removeprefix(_HERE).partition("@")
    name, _, mutant = label.partition("+")
    if not mutant and name in mutants():
        name, mutant = mutants()[name].config, name
    return name, mutant or None, plant or None


def replay_line(text: str) -> tuple[Outcome, str]:
    """Repeat a run on the RTL: a line of this explorer, or one of sw_model.explore; and its line here.

    Raises ValueError, KeyError, TypeError for a wrong line.
    """
    line = parse(text)
    label = f"{line.config}+{line.mutant}" if line.mutant else line.config
    with Machine(*name_of(label)) as m:
        out = m.run(strategy_of(line.strategy, line.arg)) if label.startswith(_HERE) else m.follow(text)
        return out, line_of(m, out)


def _search(a: argparse.Namespace) -> int:
    name, mutant, plant = name_of(a.config)
    with Machine(name, mutant, plant, not a.no_compare) as m:
        f = m.search(a.bound, a.budget) if a.random is None else m.walk(a.budget, a.random)
        what = f"at most {f.bound} deviations" if a.random is None else f"random from seed {a.random}"
        end = "all schedules" if f.complete else "schedules"
        print(f"{m.label}, {what}: {f.schedules} {end}, {f.runs / f.seconds:.0f}/s", flush=True)
        if f.failure is None:
            return 0
        print(f"  {f.failure.kind}: {f.failure.text}\n  found: {commit()} {line_of(m, f.failure)}")
        small = m.shrink(f.failure)
        print(f"  {small.switches} context switches: {commit()} {line_of(m, small)}")
    return 1


def _replay(a: argparse.Namespace) -> int:
    text = " ".join(a.line)
    if why := differs(parse(text)):
        print(f"explore: {why}: the run may differ", file=sys.stderr)
    if not parse(text).config.startswith(_HERE):
        host = replay(text)
        print(f"host only: {host.kind}: {host.text}" if host.kind else "host only: no failure")
    out, line = replay_line(text)
    print(f"on the RTL: {line}\n{render(out)}")
    return 1 if out.kind else 0


def _run(a: argparse.Namespace) -> int:
    rows, start = [], time.perf_counter()
    for r in standard.run(standard.tasks(), a.jobs):
        rows.append(r)
        result = r.text if r.failure else "no failure"
        print(f"{'' if r.ok else 'WRONG: '}{r.kind} {r.name}: {r.schedules} schedules, {result}", flush=True)
        if r.line:
            print(f"  {commit()} {r.line}")
    if a.out:
        standard.save(a.out, rows)
    bad = sum(not r.ok for r in rows)
    print(f"{len(rows) - bad} of {len(rows)} as they have to be, {time.perf_counter() - start:.0f} s")
    return 1 if bad else 0


def _cpu() -> float:
    """Seconds of processor time of this process and of those that have ended."""
    return sum(r.ru_utime + r.ru_stime for r in map(resource.getrusage, (resource.RUSAGE_CHILDREN, 0)))


def _bench(a: argparse.Namespace) -> int:
    for what in ("branches", "random"):
        with Machine(a.config) as m:
            m.run(Random(0))
        before = _cpu()
        with Machine(a.config) as m:
            f = m.search(2, a.budget) if what == "branches" else m.walk(a.budget)
        used = _cpu() - before
        print(
            f"{a.config} {what}: {f.runs} schedules, {f.runs / f.seconds:.0f} per second, "
            f"{f.runs / used:.0f} per second of processor time, {f.steps / f.runs:.1f} steps each"
        )
    return 0


def _list(a: argparse.Namespace) -> int:
    print("configurations:")
    for c in (*CONFIGS.values(), *(c for c in configs().values() if c.stack == "full")):
        print(f"  {c.name:36} {c.about}")
    print("plants:")
    for p in (*plants.RTL, *plants.EXPLORED):
        print(f"  {p.name:36} {p.what}")
    return 0


def main(argv: list[str] | None = None) -> int:
    """The command line; 1 when a failure was found (run: when something is not as it has to be)."""
    p = argparse.ArgumentParser(prog="python -m tb.explore", description=__doc__)
    sub = p.add_subparsers(dest="command", required=True)
    q = sub.add_parser(
        "run", help="the standard set: clean configurations, bugs of the host, bugs of the RTL"
    )
    q.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    q.add_argument("--out", type=Path, help="write the results as JSON")
    q.set_defaults(do=_run)
    q = sub.add_parser("search", help="search one configuration; a failure is shrunk and printed as a line")
    q.add_argument("config", help="configuration, configuration+mutant, or a mutant; then @plant")
    q.add_argument("--bound", type=int, default=2, help="deviations at most (depth first, by fork)")
    q.add_argument("--random", type=int, metavar="SEED", help="random schedules from this seed instead")
    q.add_argument("--budget", type=int, default=2000, help="schedules at most")
    q.add_argument("--no-compare", action="store_true", help="judge by the page tables alone")
    q.set_defaults(do=_search)
    q = sub.add_parser("replay", help="repeat a run on the RTL from its line, or from one found host-only")
    q.add_argument("line", nargs="+")
    q.set_defaults(do=_replay)
    q = sub.add_parser("bench", help="schedules per second")
    q.add_argument("config", nargs="?", default="full_fault_x_invalidate")
    q.add_argument("--budget", type=int, default=600)
    q.set_defaults(do=_bench)
    q = sub.add_parser("list", help="configurations and plants")
    q.set_defaults(do=_list)
    a = p.parse_args(argv)
    try:
        return a.do(a)
    except KeyError as e:
        print(f"explore: no configuration or mutant {e}: `list` shows them", file=sys.stderr)
    except (ValueError, TypeError, build.BuildError) as e:
        print(f"explore: {e}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
