"""Exercise a card: the scenarios and the benchmark of sw_model/scenarios.py over VFIO (docs/board.md).

python -m sw_model.board --bdf 0000:03:00.0      # a card
python -m sw_model.board --functional            # the functional model in its place
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from sw_model import device_interface as di
from sw_model.func_device import FuncDevice
from sw_model.scenarios import BENCH, Failed, Plan, Result, Rig, Scenario, chosen
from sw_model.sched import RandomStrategy, Scheduler
from sw_model.transport import Transport
from sw_model.vfio import NS_PER_CYCLE, Kernel, VfioDevice, VfioError, VfioTransport


def run_card(args: argparse.Namespace, plan: Plan, progress: Callable[[], None]) -> Rig:
    """Run a plan on a card. Raises VfioError, Failed, OSError."""
    kernel = Kernel()
    with VfioDevice(args.bdf, args.memory << 20, kernel) as device:
        transport = VfioTransport(device)
        rig = _rig(args, transport, kernel, progress)
        rig.run(plan.run, transport.idle)
    return rig


def run_functional(args: argparse.Namespace, plan: Plan, progress: Callable[[], None]) -> Rig:
    """Run a plan on the functional model. Raises Failed, OSError."""
    device = FuncDevice(np.zeros(args.memory << 20, np.uint8), args.seed)
    rig = _rig(args, device, None, progress)
    rig.sched.spawn(device.run_thread(), "device", daemon=True)
    rig.run(plan.run, device.idle)
    return rig


def _rig(args: argparse.Namespace, transport: Transport, clock: Any, progress: Callable[[], None]) -> Rig:
    sched = Scheduler(RandomStrategy(args.seed), clock)
    return Rig(transport, sched, args.seed, mirror=args.mirror, rounds=args.rounds, progress=progress)


def _count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is not a count from 1 on")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 0 when all passed, 1 when a scenario failed, 2 when the card cannot be used."""
    ap = argparse.ArgumentParser(prog="python -m sw_model.board", description="Exercise a card.")
    where = ap.add_mutually_exclusive_group()
    where.add_argument("--bdf", help="PCI address of the card, bound to vfio-pci: 0000:03:00.0")
    where.add_argument("--functional", action="store_true", help="the functional model in place of a card")
    ap.add_argument("--list", action="store_true", help="list the scenarios")
    ap.add_argument(
        "--scenario", action="append", default=[], metavar="NAME", help="only this one; repeatable"
    )
    ap.add_argument("--seed", type=int, default=1, help="schedule and data (default 1)")
    ap.add_argument("--rounds", type=_count, default=20, help="repetitions in a scenario (default 20)")
    ap.add_argument(
        "--memory", type=_count, default=64, metavar="MIB", help="host memory for the card (default 64)"
    )
    ap.add_argument(
        "--mirror", choices=("interval", "mirror"), default="interval", help="HMM API of the driver"
    )
    ap.add_argument("--json", metavar="FILE", help="write the results as JSON")
    args = ap.parse_args(argv)
    if args.list:
        for s in chosen([]):
            print(f"{s.name:10} {s.about}")
        return 0
    if not args.bdf and not args.functional:
        ap.error("one of --bdf and --functional is needed")
    try:
        scenarios = chosen(args.scenario)
    except KeyError as e:
        ap.error(f"no scenario {e}: --list lists them")
    return _report(args, scenarios)


def _report(args: argparse.Namespace, scenarios: list[Scenario]) -> int:
    console = Console(highlight=False)
    status, rig, refusal = 1, None, ""

    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    columns = SpinnerColumn(), TextColumn("{task.description} {task.completed}"), TimeElapsedColumn()
    quiet = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
        task = bar.add_task("opening the card", total=None)
        plan = Plan(scenarios, lambda s: bar.reset(task, description=s.name), lambda r: say(_line(r)))
        try:
            rig = (run_card if args.bdf else run_functional)(args, plan, lambda: bar.advance(task))
            status = 0 if plan.ok else 1
        except VfioError as e:
            status, refusal = 2, str(e)
        except KeyboardInterrupt:
            plan.fail(Failed("interrupted"))
        except Exception as e:
            plan.fail(e)
    if refusal:
        print(refusal, file=sys.stderr)
    else:
        passed = sum(r.ok for r in plan.results)
        where = args.bdf or "the functional model, whose cycles are steps and not time"
        say(
            f"{'FAILED' if status else 'ok'}: {passed} of {len(scenarios)} scenarios on {where}; "
            f"seed {args.seed}, 1 cycle = {NS_PER_CYCLE} ns"
        )
    if args.json:
        report = {
            "ok": status == 0, "error": refusal, "seed": args.seed, "rounds": args.rounds, "bdf": args.bdf,
            "version": di.VERSION, "ns_per_cycle": NS_PER_CYCLE,
            "scenarios": [vars(r) for r in plan.results],
            "driver": rig.driver.stats if rig else {}, "device": rig.counters if rig else {},
        }  # fmt: skip
        Path(args.json).write_text(json.dumps(report, indent=1) + "\n")
    return status


def _line(r: Result) -> str:
    if r.error:
        return f"FAILED {r.name}: {r.error}"
    figures = [f"{k.replace('_', ' ')} {v}" for k, v in r.figures.items()]
    if r.name != BENCH.name:
        return f"ok     {r.name:10} {r.seconds:8.3f} s  {', '.join(figures)}".rstrip()
    return "\n".join([f"ok     {r.name:10} {r.seconds:8.3f} s", *(f"         {f}" for f in figures)])


if __name__ == "__main__":
    sys.exit(main())
