"""Builds and runs the cocotb tests of a part of the device in a wrapper of its own, in Verilator or Icarus.

A build lives in build/<file list>/<simulator>-<hash of sources, parameters and tool>: equal configurations
share one build, made under a file lock by whoever comes first.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import cocotb_tools.runner
from cocotb_tools.runner import get_runner

from tb import build, tools

ROOT = tools.ROOT
TIMESCALE = ("1ns", "1ps")

#: Warnings of packages, not of the tests.
FILTERS = ",".join(
    [
        "ignore::DeprecationWarning:cocotbext",
        "ignore::DeprecationWarning:cocotb_bus",
        "ignore::FutureWarning:cocotbext",
    ]
)


#: Environment of the PCIe benches: the root complex's package warns at run time, from our frames.
PCIE_ENV = {"PYTHONWARNINGS": f"{FILTERS},ignore::DeprecationWarning,ignore::FutureWarning"}
#: A completion times out after 8 ticks of 512 cycles, 16 us: short enough to wait for.
PCIE_PARAMETERS = {"LOG_TICK": 9, "TIMEOUT": 8}


def seed() -> int:
    """The regression's seed: SEED in the environment, else 1."""
    return int(os.environ.get("SEED", "1"))


@dataclass
class Result:
    """Outcome of one simulation: the cocotb tests' names, and those that failed with their messages."""

    passed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    log: Path = Path()

    def check(self) -> None:
        """Raise AssertionError that names every failed cocotb test."""
        lines = [f"{name}: {text}" for name, text in self.failed.items()]
        assert not lines, f"seed {seed()}, log {self.log}:\n" + "\n".join(lines)
        assert self.passed, f"no test ran, log {self.log}"


@dataclass(frozen=True)
class Bench:
    """A design under test: the wrapper tb/<top>.v around the files of rtl/<files>.f; `extra`: more of tb/."""

    top: str
    files: str
    extra: tuple[str, ...] = ()
    # Files of the list that those of `extra` stand in for.
    without: tuple[str, ...] = ()
    # Python is most of the run time: a quick build pays more than a quick model.
    optimize: str = "-O0"

    def sources(self, rtl: Path) -> tuple[list[Path], list[Path]]:
        """Verilog files, the wrapper last, and include directories."""
        files, includes = tools.file_list(rtl / f"{self.files}.f")
        files = [f for f in files if f.name not in self.without]
        return [*files, *(ROOT / "tb" / f"{name}.v" for name in (*self.extra, self.top))], includes


CORE = Bench("wrap_core", "dmmu_core")
STATS = Bench("wrap_stats", "dmmu_core")
PCIE = Bench("wrap_pcie_endpoint", "pcie")
FPGA = Bench("wrap_fpga_core", "fpga_core", ("pcie_monitor",), optimize="-O1")
#: The same without translation.
BYPASS = Bench("wrap_fpga_core", "fpga_core", ("pcie_monitor", "dmmu_bypass"), ("dmmu_core.v",), "-O1")


def core_bench(module: str) -> Bench:
    """What a module tb/cocotb_core_*.py tests: dmmu_core, or a part of it."""
    return STATS if module == "cocotb_core_stats" else CORE


def make(
    sim: str,
    parameters: Mapping[str, int],
    rtl: Path = ROOT / "rtl",
    waves: bool = False,
    bench: Bench = CORE,
) -> Path:
    """Build a bench for "verilator" or "icarus"; the build directory. A build that exists is used again.

    Raises ToolError when the simulator is missing, SystemExit when the build fails.
    """
    files, includes = bench.sources(rtl)
    tool = tools.verilator() if sim == "verilator" else tools.icarus()
    headers = [h for i in includes for h in sorted(i.glob("*.vh"))]
    digest = build.hash_of([*files, *headers], sorted(parameters.items()), waves, str(tool))
    build_dir = build.BUILD / bench.files / f"{sim}-{digest[:16]}"
    with build.target(build_dir, "model", digest) as stale:
        if stale:
            env = tools.verilator_env()
            env["MAKEFLAGS"] = f"{env.get('MAKEFLAGS', '')} OPT_FAST={bench.optimize}"
            with (
                mock.patch.dict(os.environ, env),
                mock.patch.object(cocotb_tools.runner, "MAX_PARALLEL_BUILD_JOBS", build.jobs()),
            ):
                get_runner(sim).build(
                    sources=files,
                    includes=includes,
                    parameters=dict(parameters),
                    hdl_toplevel=bench.top,
                    build_args=["-Wno-fatal"] if sim == "verilator" else ["-g2012"],
                    build_dir=build_dir,
                    timescale=TIMESCALE,
                    waves=waves,
                    log_file=build_dir / "build.log",
                )
    return build_dir


def run(
    module: str,
    sim: str = "verilator",
    parameters: Mapping[str, int] | None = None,
    test_filter: str | None = None,
    rtl: Path = ROOT / "rtl",
    env: Mapping[str, str] | None = None,
    name: str = "",
    bench: Bench = CORE,
    waves: bool | None = None,
    test_dir: Path | None = None,
) -> Result:
    """Build if needed and run the cocotb tests of a module whose names match `test_filter`.

    `waves` is WAVES of the environment unless given; `test_dir` a directory of the build unless given.
    Raises what `make` raises, and AssertionError when the simulation leaves no results.
    """
    waves = build.waves_wanted() if waves is None else waves
    build_dir = make(sim, parameters or {}, rtl, waves, bench)
    test_dir = test_dir or build_dir / (name or f"{module.rpartition('.')[2]}-{os.getpid()}")
    test_dir.mkdir(exist_ok=True)
    xml, log = test_dir / "results.xml", test_dir / "run.log"
    xml.unlink(missing_ok=True)
    try:
        with mock.patch.dict(os.environ, tools.verilator_env()):
            get_runner(sim).test(
                test_module=module,
                hdl_toplevel=bench.top,
                hdl_toplevel_lang="verilog",
                build_dir=build_dir,
                test_dir=test_dir,
                results_xml=str(xml),
                seed=seed(),
                test_filter=test_filter,
                waves=waves,
                timescale=TIMESCALE,
                log_file=log,
                extra_env={"PYTHONWARNINGS": FILTERS, **(env or {})},
            )
    except SystemExit:
        if not xml.exists():
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:]) if log.exists() else ""
            raise AssertionError(f"simulation ended without results, log {log}\n{tail}") from None
    return read_results(xml, log)


def read_results(xml: Path, log: Path) -> Result:
    """Names and messages from a cocotb result file."""
    out = Result(log=log)
    for case in ET.parse(xml).iter("testcase"):
        name = f"{case.get('classname', '').rpartition('.')[2]}.{case.get('name', '')}"
        bad = case.find("failure")
        if bad is None:
            bad = case.find("error")
        if case.find("skipped") is not None:
            continue
        if bad is None:
            out.passed.append(name)
        else:
            text = bad.get("error_msg") or bad.get("message") or (bad.text or "").strip()
            out.failed[name] = text.splitlines()[0][:600] if text else "failed"
    return out
