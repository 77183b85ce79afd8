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
    """A design under test: the wrapper tb/<top>.v around the files of rtl/<files>.f."""

    top: str
    files: str

    def sources(self, rtl: Path) -> tuple[list[Path], list[Path]]:
        """Verilog files, the wrapper last, and include directories."""
        files, includes = tools.file_list(rtl / f"{self.files}.f")
        return [*files, ROOT / "tb" / f"{self.top}.v"], includes


CORE = Bench("wrap_core", "dmmu_core")
PCIE = Bench("wrap_pcie_endpoint", "pcie")


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
            # Python is most of the run time: a quick build pays more than a quick model.
            env["MAKEFLAGS"] = f"{env.get('MAKEFLAGS', '')} OPT_FAST=-O0"
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
) -> Result:
    """Build if needed and run the cocotb tests of a module whose names match `test_filter`.

    Raises what `make` raises, and AssertionError when the simulation leaves no results.
    """
    waves = build.waves_wanted()
    build_dir = make(sim, parameters or {}, rtl, waves, bench)
    test_dir = build_dir / (name or f"{module.rpartition('.')[2]}-{os.getpid()}")
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
