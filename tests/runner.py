"""Build and run cocotb tests of one RTL configuration; safe under pytest-xdist.

A build lives in build/core/<simulator>-<hash of sources, parameters and tools>: equal configurations share
one build, made under a file lock by whoever comes first.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cocotb_tools.runner
from cocotb_tools.runner import get_runner

from tb import tools

ROOT = tools.ROOT
BUILD = ROOT / "build" / "core"
cocotb_tools.runner.MAX_PARALLEL_BUILD_JOBS = 2

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


def sources(rtl: Path = ROOT / "rtl") -> list[Path]:
    """The files of dmmu_core and its test wrapper."""
    files = sorted((rtl / "lib").glob("*.v")) + sorted((rtl / "mmu").glob("*.v"))
    return [f for f in files if f.name != "dmmu.v"] + [ROOT / "tb" / "wrap_core.v"]


def _digest(sim: str, files: Sequence[Path], headers: Sequence[Path], parameters: Mapping[str, int]) -> str:
    h = hashlib.sha256()
    for f in [*files, *headers]:
        h.update(f.name.encode())
        h.update(f.read_bytes())
    h.update(repr(sorted(parameters.items())).encode())
    h.update(str(tools.verilator() if sim == "verilator" else tools.icarus()).encode())
    return h.hexdigest()[:16]


def build(sim: str, parameters: Mapping[str, int], rtl: Path = ROOT / "rtl", waves: bool = False) -> Path:
    """Build wrap_core for a simulator; the build directory. A build that exists is used again."""
    files = sources(rtl)
    include = rtl / "include"
    tag = _digest(sim, files, sorted(include.glob("*.vh")), parameters) + ("-waves" if waves else "")
    build_dir = BUILD / f"{sim}-{tag}"
    build_dir.mkdir(parents=True, exist_ok=True)
    stamp = build_dir / "built"
    with open(build_dir / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists():
            os.environ.update(tools.verilator_env())
            # Python is most of the run time: a quick build pays more than a quick model.
            os.environ["MAKEFLAGS"] = f"{os.environ.get('MAKEFLAGS', '')} OPT_FAST=-O0"
            args = ["-Wno-fatal"] if sim == "verilator" else ["-g2012"]
            get_runner(sim).build(
                sources=files,
                includes=[include],
                parameters=dict(parameters),
                hdl_toplevel="wrap_core",
                build_args=args,
                build_dir=build_dir,
                timescale=("1ns", "1ps"),
                waves=waves,
                log_file=build_dir / "build.log",
            )
            stamp.touch()
    return build_dir


def run(
    module: str,
    sim: str = "verilator",
    parameters: Mapping[str, int] | None = None,
    test_filter: str | None = None,
    rtl: Path = ROOT / "rtl",
    env: Mapping[str, str] | None = None,
    name: str = "",
) -> Result:
    """Build if needed and run the cocotb tests of a module whose names match `test_filter`."""
    waves = os.environ.get("WAVES", "0") == "1"
    build_dir = build(sim, parameters or {}, rtl, waves)
    tag = name or f"{module.rsplit('.', 1)[-1]}-{os.getpid()}"
    test_dir = build_dir / tag
    test_dir.mkdir(exist_ok=True)
    xml, log = test_dir / "results.xml", test_dir / "run.log"
    xml.unlink(missing_ok=True)
    os.environ.update(tools.verilator_env())
    print(f"{module} on {sim} {dict(parameters or {})} seed {seed()}")
    try:
        get_runner(sim).test(
            test_module=module,
            hdl_toplevel="wrap_core",
            hdl_toplevel_lang="verilog",
            build_dir=build_dir,
            test_dir=test_dir,
            results_xml=str(xml),
            seed=seed(),
            test_filter=test_filter,
            waves=waves,
            timescale=("1ns", "1ps"),
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
        name = f"{case.get('classname', '').rsplit('.', 1)[-1]}.{case.get('name', '')}"
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
