"""`python -m sw_model.explore run|replay|list|bench|table|mutants`."""

from __future__ import annotations

import argparse
import sys
import time

from sw_model.explore.config import configs, mutants
from sw_model.explore.runner import Report, replay, search
from sw_model.explore.shrink import shrink
from sw_model.explore.timeline import render

STRATEGIES = ("random", "pct", "preempt", "dpor")


def _summary(r: Report) -> str:
    speed = r.schedules / r.seconds if r.seconds else 0
    what = "all schedules" if r.complete else "schedules"
    return f"{r.config} {r.strategy}: {r.schedules} {what}, {speed:.0f}/s, longest {r.longest} steps"


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
            print(f"  {r.failure.kind}: {r.failure.text}\n  found: {r.line}")
            small = shrink(n, r.failure, mutant or None)
            print(f"  {small.switches} context switches: {r.config} choices {small.choices or '-'}")
    return 1 if bad else 0


def _replay(a: argparse.Namespace) -> int:
    out = replay(" ".join(a.line))
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
    for strategy in ("random", "pct", "preempt", "dpor"):
        bound = None if strategy == "preempt" else 2
        r = search(a.config, strategy, budget=a.budget, bound=bound, twice=False)
        per_cpu = r.schedules / r.cpu if r.cpu else 0
        steps = r.steps / max(r.schedules, 1)
        print(f"{_summary(r)}, {per_cpu:.0f} per CPU second, {steps:.1f} steps each", flush=True)
    return 0


def _table(a: argparse.Namespace) -> int:
    print("| configuration | stack | schedules | cut short | longest | seconds |")
    print("|---|---|---:|---:|---:|---:|")
    bad = 0
    for name in a.configs or [c.name for c in configs().values() if c.exhaustive and not c.open_bug]:
        r = search(name, "dpor", budget=a.budget, twice=False)
        bad += r.failure is not None
        count = str(r.schedules) if r.complete else f"not exhausted ({r.schedules})"
        count += f" FAILS: {r.failure.text}" if r.failure else ""
        row = f"| {name} | {configs()[name].stack} | {count} | {r.blocked} | {r.longest} | {r.seconds:.1f} |"
        print(row, flush=True)
    return 1 if bad else 0


def _mutants(a: argparse.Namespace) -> int:
    print(
        "| mutant | configuration | symptom | " + " | ".join(STRATEGIES) + " | switches | shortest schedule |"
    )
    print("|---|---|---|" + "---:|" * len(STRATEGIES) + "---:|---|")
    missed = 0
    for m in mutants().values():
        row, best = [], None
        for strategy in STRATEGIES:
            if strategy == "dpor" and not configs()[m.config].exhaustive:
                row.append("")
                continue
            r = search(m.config, strategy, mutant=m.name, budget=a.budget, seed=a.seed, twice=False)
            row.append(str(r.schedules) if r.failure else "none" if r.complete else f"> {a.budget}")
            if r.failure is not None:
                small = shrink(m.config, r.failure, m.name)
                if best is None or small.switches < best.switches:
                    best = small
        missed += best is None
        tail = f"{best.switches} | `{best.choices}`" if best else "| NOT FOUND"
        print(
            f"| {m.name} | {m.config} | {best.kind if best else ''} | {' | '.join(row)} | {tail} |",
            flush=True,
        )
    return 1 if missed else 0


def main(argv: list[str] | None = None) -> int:
    """The command line; 1 when a failure was found."""
    p = argparse.ArgumentParser(prog="python -m sw_model.explore", description=__doc__)
    sub = p.add_subparsers(dest="command", required=True)
    q = sub.add_parser("run", help="search; a failure is shrunk and printed as a line for replay")
    q.add_argument("config", help="a configuration, configuration+mutant, a mutant, or all")
    q.add_argument("--strategy", choices=STRATEGIES, default="random")
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
    q = sub.add_parser("table", help="exhaust configurations by dpor; the table of docs/explore.md")
    q.add_argument("configs", nargs="*")
    q.add_argument("--budget", type=int, default=20000, help="executions at most for each")
    q.set_defaults(do=_table)
    q = sub.add_parser("mutants", help="find every mutant; the table of docs/explore.md")
    q.add_argument("--seed", type=int, default=0)
    q.add_argument("--budget", type=int, default=4000, help="schedules at most for each strategy")
    q.set_defaults(do=_mutants)
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
    if a.command in ("run", "table", "mutants"):
        print(f"{time.perf_counter() - start:.1f} s")
    return code


if __name__ == "__main__":
    sys.exit(main())
