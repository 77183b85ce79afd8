"""`make sim`: build the simulation, replay a recorded process on it, show progress and a summary.

The report is in build/sim/report.json. Exit status: 0 when everything is right, 1 when something is
wrong, 2 when the arguments are.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from sw_model.mirror_api import MIRROR_APIS
from tb import build, runner
from tb import report as rep
from tb.session import DEVICES, Options, ProgressFile, Session
from tb.tools import ToolError
from tb.trace import Trace, TraceError
from tb.workload import Pressure


def parse(argv: list[str] | None) -> Options:
    """Options from the command line; exits with status 2 for arguments that make no sense."""
    p = argparse.ArgumentParser(prog="tb.run_sim", description=__doc__.split("\n")[0])
    p.add_argument("--trace", default=Options.trace, help="recording (%(default)s)")
    p.add_argument("--seed", type=int, default=Options.seed)
    p.add_argument("--sim", default=Options.sim, choices=["verilator", "icarus"])
    p.add_argument("--flavour", default=Options.flavour, choices=["cocotb", "plain"])
    p.add_argument("--waves", nargs="?", const="1", default="0", help="1 writes dump.vcd (Icarus: dump.fst)")
    p.add_argument("--limit", type=int, default=Options.limit, help="accesses; 0 is the whole recording")
    p.add_argument("--pressure", default=Options.pressure, help="0 to 4, or swap=1,migrate=2,... per 1000")
    p.add_argument("--mirror", default=Options.mirror, choices=["interval", *MIRROR_APIS], help="HMM API")
    p.add_argument("--memory", type=int, default=Options.memory, help="host memory in MiB (%(default)s)")
    p.add_argument("--config", default=Options.config, choices=["fast", "default", "stress"], help="the bus")
    p.add_argument("--device", default=Options.device, choices=sorted(DEVICES), help="sizes of the device")
    p.add_argument("--data-w", type=int, default=Options.data_w, choices=[64, 128, 256, 512])
    p.add_argument("--processes", type=int, default=Options.processes, help="copies of the program (1)")
    p.add_argument("--link", default=Options.link, choices=["axi", "pcie"], help="what is above the device")
    p.add_argument("--iommu", default="1", choices=["0", "1"], help="LINK=pcie: the host has an IOMMU (1)")
    p.add_argument("--out", default=Options.out, help="directory of the report (%(default)s)")
    a = p.parse_args(argv)
    a.waves = a.waves not in ("", "0")
    if a.limit < 0 or a.seed < 0 or a.memory < 16:
        p.error("--limit and --seed are 0 or more, --memory 16 or more")
    if not 1 <= a.processes <= 16:
        p.error("--processes is 1 to 16")
    if a.sim == "icarus" and a.flavour == "plain":
        p.error("--flavour plain runs on Verilator only")
    a.iommu = a.iommu == "1"
    if a.link == "pcie" and (a.sim != "verilator" or a.flavour != "cocotb" or a.data_w == 64):
        p.error("--link pcie runs on Verilator under cocotb, with --data-w 128, 256 or 512")
    try:
        Pressure.parse(a.pressure)
    except ValueError as e:
        p.error(str(e))
    options = Options(**vars(a))
    options.out = str(Path(options.out).resolve())
    options.trace = str(Path(options.trace).resolve())
    return options


class Display:
    """Progress on a terminal as a bar, elsewhere as a line every ten seconds."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.start = self.last = time.monotonic()
        self._update: Callable[..., None] | None = None

    def update(self, done: int, total: int, cycle: int, faults: int) -> None:
        """New figures."""
        now = time.monotonic()
        rate = cycle / max(now - self.start, 1e-3) / 1e3
        text = f"{cycle / 1e6:.2f} M cycles, {rate:.0f} k/s, {faults} faults"
        if self._update is not None:
            self._update(completed=done, total=total, text=text)
        elif now - self.last >= 10:
            self.last = now
            self.console.print(f"{done} of {total} accesses, {text}")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Shows the bar while the body runs."""
        self.start = self.last = time.monotonic()
        if not self.console.is_terminal:
            yield
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = [BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn()]
        with Progress(*columns, console=self.console, refresh_per_second=5, transient=True) as bar:
            task = bar.add_task("replay", total=None, text="starting")
            self._update = lambda **kw: bar.update(task, **kw)
            yield
        self._update = None


def run_plain(options: Options, display: Display) -> dict:
    """Replay in this process; the report."""
    with display.running():
        session = Session(options, display.update)
        error: BaseException | None = None
        try:
            session.world.run_plain()
        except Exception as e:
            error = e
        session.finish(error)
        session.write()
        session.world.close()
    return session.report


def simulate(options: Options, out: Path) -> None:
    """Run the simulator on a session; its log is out/log.txt (PCIe: run.log). Raises AssertionError."""
    env = {"SVM_SIM_OPTIONS": options.dump()}
    if options.link == "pcie":
        runner.run(
            "tb.cocotb_pcie_sim",
            parameters=parameters(options),
            env={**runner.PCIE_ENV, **env},
            bench=runner.FPGA,
            waves=options.waves,
            test_dir=out,
        ).check()
        return
    build.run_cocotb(
        "tb.cocotb_sim",
        sim=options.sim,
        data_w=options.data_w,
        params=DEVICES[options.device],
        seed=options.seed,
        waves=options.waves,
        extra_env=env,
        test_dir=out,
        quiet=True,
    )


def parameters(options: Options) -> dict[str, int]:
    """Parameters of the design behind PCIe."""
    return {"DATA_W": options.data_w, **runner.PCIE_PARAMETERS, **DEVICES[options.device]}


def make(options: Options) -> None:
    """Build what a run needs. Raises ToolError."""
    if options.link == "pcie":
        runner.make("verilator", parameters(options), waves=options.waves, bench=runner.FPGA)
        return
    design = build.Design.of(data_w=options.data_w, params=DEVICES[options.device], waves=options.waves)
    if options.flavour == "plain":
        build.library(design)
    elif options.sim == "icarus":
        build.icarus(design)
    else:
        build.cocotb_exe(design)


def run_cocotb(options: Options, display: Display) -> dict:
    """Replay in a simulator under cocotb; the report. Raises ToolError when it leaves none."""
    out = Path(options.out)
    progress = ProgressFile(out / "progress")
    for stale in (progress.path, out / "report.json"):
        stale.unlink(missing_ok=True)
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            if (figures := progress.read()) is not None and len(figures) == 4:
                display.update(*figures)

    failure = ""
    with display.running():
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            simulate(options, out)
        except AssertionError as e:
            failure = str(e)
        finally:
            done.set()
            watcher.join()
    progress.path.unlink(missing_ok=True)
    try:
        report = json.loads((out / "report.json").read_text())
    except (OSError, ValueError) as e:
        log = out / ("run.log" if options.link == "pcie" else "log.txt")
        raise ToolError(f"the simulation left no report; its log is {log}\n{failure[-2000:]}") from e
    if failure and report["ok"]:
        report["ok"] = False
        report["checks"]["cocotb"] = {"ok": False, "text": failure.splitlines()[0]}
    return report


def main(argv: list[str] | None = None) -> int:
    """Command line; the exit status."""
    options = parse(argv)
    width = None if sys.stdout.isatty() else 160
    console = Console(soft_wrap=True, highlight=False, width=width)
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        trace = Trace(options.trace)
        Path(options.out).mkdir(parents=True, exist_ok=True)
        console.print(
            f"replaying {Path(options.trace).name} ({' '.join(trace.header.get('command', [])[:6])}) on"
            f" {options.sim}, {options.flavour}, link {options.link}, seed {options.seed},"
            f" pressure {options.pressure}"
        )
        start = time.monotonic()
        with console.status("building the simulation (about a minute when nothing is cached)"):
            make(options)
        if (took := time.monotonic() - start) > 1:
            console.print(f"built in {took:.0f} s")
        display = Display(console)
        report = (run_plain if options.flavour == "plain" else run_cocotb)(options, display)
    except (TraceError, ToolError) as e:
        errors.print(f"sim: {e}", markup=False)
        return 1
    except KeyboardInterrupt:
        errors.print("sim: interrupted")
        return 130
    rep.render(report, console)
    if options.waves:
        name = "dump.fst" if options.sim == "icarus" else "dump.vcd"
        console.print(f"waves: {Path(options.out) / name}")
    console.print(f"report: {Path(options.out) / 'report.json'}")
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
