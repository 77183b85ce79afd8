"""`python -m sw_model.explore run|replay|list|bench|all|table|mutants`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from sw_model.explore import standard
from sw_model.explore.config import configs, mutants
from sw_model.explore.line import Line, commit, differs, parse
from sw_model.explore.runner import Report, replay, search
from sw_model.explore.shrink import shrink
from sw_model.explore.timeline import render


def _summary(r: Report) -> str:
    speed = r.schedules / r.seconds if r.seconds else 0
    what = "all schedules" if r.complete else "schedules"
    return f"{r.label} {r.strategy}: {r.schedules} {what}, {speed:.0f}/s, longest {r.longest} steps"


def _run(a: argparse.Namespace) -> int:
    name, _, mutant = a.config.partition("+")
    if not mutant and name in mutants():
        name, mutant = mutants()[name].config, name
    names = [c.name for c in configs().values() if not c.open_bug] if name == "all" else [name]
    bad = 0
    for n in names:
        if a.strategy == "dpor" and not configs()[n].exhaustive:
            print(f"{n} dpor: left out, state outside the tracked classes (use random, pct or preempt)")
            continue
        r = search(
            n,
            a.strategy,
            mutant=mutant or None,
            seed=a.seed,
            budget=a.budget,
            depth=a.depth,
            bound=None if a.bound < 0 else a.bound,
            twice=not a.once,
        )
        print(_summary(r), flush=True)
        if r.failure is not None:
            bad += 1
            print(f"  {r.failure.kind}: {r.failure.text}\n  found: {commit()} {r.line}")
            small = shrink(n, r.failure, mutant or None)
            line = Line(commit(), n, mutant, "choices", small.choices)
            print(f"  {small.switches} context switches: {line}")
    return 1 if bad else 0


def _replay(a: argparse.Namespace) -> int:
    text = " ".join(a.line)
    if why := differs(parse(text)):
        print(f"explore: {why}: the run may differ", file=sys.stderr)
    out = replay(text)
    print(render(out))
    return 1 if out.kind else 0


def _list(a: argparse.Namespace) -> int:
    print("configurations:")
    for c in configs().values():
        print(f"  {c.name:<36} {c.stack:<9} {c.about}")
    print("mutants:")
    for m in mutants().values():
        print(f"  {m.name:<16} {m.config:<36} {m.about} ({m.reference})")
    return 0


def _bench(a: argparse.Namespace) -> int:
    for strategy in standard.STRATEGIES:
        bound = None if strategy == "preempt" else 2
        r = search(a.config, strategy, budget=a.budget, bound=bound, twice=False)
        per_cpu = r.schedules / r.cpu if r.cpu else 0
        steps = r.steps / max(r.schedules, 1)
        print(f"{_summary(r)}, {per_cpu:.0f} per CPU second, {steps:.1f} steps each", flush=True)
    return 0


def _standard(a: argparse.Namespace) -> int:
    """Exhaust or sample configurations and find mutants; one line each as it is done."""
    tasks = []
    if a.command in ("all", "table"):
        tasks += [("config", n, a.budget) for n in a.names or standard.clean_configs()]
    if a.command in ("all", "mutants"):
        tasks += [("mutant", n, a.budget) for n in a.names or mutants()]
    for _, name, _ in tasks:
        if name not in configs() and name not in mutants():
            raise KeyError(name)
    results = []
    for r in standard.run(tasks, a.jobs):
        results.append(r)
        print(f"{len(results):4}/{len(tasks)}  {describe(r)}", flush=True)
    if a.out:
        standard.save(a.out, results)
    bad = [r for r in results if not r.ok]
    print(f"{len(results)} run, {len(bad)} wrong" + "".join(f"\n  {describe(r)}" for r in bad))
    return 1 if bad else 0


def describe(r: standard.Clean | standard.Found) -> str:
    """A result in a line."""
    if isinstance(r, standard.Clean):
        what = ", ".join(f"{s} {n}" for s, n in r.counts.items())
        head = f"{r.config}: " + ("exhausted, " if r.exhausted else "")
        if not r.ok:
            return f"{head}{what}: FAILS: {r.failure}; replay: {r.line}"
        return f"{head}{what} schedules, clean ({r.seconds:.1f} s)"
    if not r.ok:
        return f"{r.mutant} in {r.config}: NOT FOUND ({r.seconds:.1f} s)"
    what = ", ".join(f"{s} {n if n > 0 else '-'}" for s, n in r.counts.items())
    return f"{r.mutant}: {r.kind} after {what} schedules; {r.switches} switches ({r.seconds:.1f} s)"


def main(argv: list[str] | None = None) -> int:
    """The command line; 1 when a failure was found."""
    p = argparse.ArgumentParser(prog="python -m sw_model.explore", description=__doc__)
    sub = p.add_subparsers(dest="command", required=True)
    q = sub.add_parser("run", help="search; a failure is shrunk and printed as a line for replay")
    q.add_argument("config", help="a configuration, configuration+mutant, a mutant, or all")
    q.add_argument("--strategy", choices=standard.STRATEGIES, default="random")
    q.add_argument("--seed", type=int, default=0, help="the first seed of random and pct")
    q.add_argument("--budget", type=int, default=2000, help="schedules at most")
    q.add_argument("--depth", type=int, default=3, help="bug depth of pct")
    q.add_argument("--bound", type=int, default=2, help="preemptions at most; -1: any number")
    q.add_argument("--once", action="store_true", help="do not run every schedule twice and compare")
    q.set_defaults(do=_run)
    q = sub.add_parser("replay", help="repeat a run from its line, with a timeline")
    q.add_argument("line", nargs="+", help="config[+mutant] strategy argument")
    q.set_defaults(do=_replay)
    q = sub.add_parser("list", help="configurations and mutants")
    q.set_defaults(do=_list)
    q = sub.add_parser("bench", help="schedules per second")
    q.add_argument("config", nargs="?", default="fault_x_invalidate")
    q.add_argument("--budget", type=int, default=20000)
    q.set_defaults(do=_bench)
    for name, what in (
        ("all", "the standard set: every configuration clean, every mutant found"),
        ("table", "run configurations clean: exhausted by dpor where it is for them, else sampled"),
        ("mutants", "find mutants with every strategy, and shrink"),
    ):
        q = sub.add_parser(name, help=what)
        if name != "all":
            q.add_argument("names", nargs="*", help="only these")
        q.add_argument("--budget", type=int, default=0, help="schedules at most for each search")
        q.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes")
        q.add_argument("--out", type=Path, help="also write the results to this JSON file")
        q.set_defaults(do=_standard, names=[])
    a = p.parse_args(argv)
    start = time.perf_counter()
    try:
        code = a.do(a)
    except KeyError as e:
        print(f"explore: no configuration or mutant {e}: `list` shows them", file=sys.stderr)
        return 2
    except (ValueError, TypeError) as e:
        print(f"explore: {e}", file=sys.stderr)
        return 2
    if a.command not in ("replay", "list", "bench"):
        print(f"{time.perf_counter() - start:.1f} s")
    return code


if __name__ == "__main__":
    sys.exit(main())
