"""Builds of the simulation: plain library, cocotb executable, raw C++ main, Icarus program.

One Verilated model serves the first three, so that their speeds compare. A build is keyed by what it
is made of (device, parameters, defines, waves) under `build/`; a stamp with the hash of sources, flags and
tool decides whether it is up to date, and a lock lets several processes ask at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tb import tools

ROOT = tools.ROOT
HARNESS = ROOT / "tb" / "harness"
BUILD = Path(os.environ.get("SVM_BUILD_DIR", ROOT / "build"))

MODEL_FLAGS = ["-O3", "--x-assign", "fast", "--x-initial", "unique", "--no-timing", "-Wno-fatal"]
OPT_FLAGS = ["OPT_FAST=-O3 -march=native", "OPT_SLOW=-O1", "OPT_GLOBAL=-O2"]
CXX_FLAGS = ["-std=gnu++20", "-O2", "-fPIC", "-Wall", "-DVL_TIME_CONTEXT"]


class BuildError(tools.ToolError):
    """A tool failed: the message carries its output."""


@dataclass(frozen=True)
class Design:
    """What is simulated.

    `device` is "svm_device" or "stub". `params` and `defines` override parameters and `define macros;
    `rtl` is another RTL tree with an svm_device.f (a planted fault).
    """

    device: str = "svm_device"
    data_w: int = 128
    params: tuple[tuple[str, int], ...] = ()
    defines: tuple[tuple[str, str], ...] = ()
    waves: bool = False
    rtl: Path = field(default=ROOT / "rtl")

    @staticmethod
    def of(
        device: str = "svm_device",
        data_w: int = 128,
        params: Mapping[str, int] | None = None,
        defines: Mapping[str, object] | None = None,
        waves: bool = False,
        rtl: Path | str | None = None,
    ) -> Design:
        """A design from plain mappings."""
        return Design(
            device,
            data_w,
            tuple(sorted((params or {}).items())),
            tuple(sorted((k, str(v)) for k, v in (defines or {}).items())),
            waves,
            Path(rtl).resolve() if rtl else ROOT / "rtl",
        )

    @property
    def parameters(self) -> dict[str, int]:
        """Top-level parameters, the data width included."""
        return {"DATA_W": self.data_w, **dict(self.params)}

    def sources(self) -> tuple[list[Path], list[Path]]:
        """Verilog files and include directories.

        Raises BuildError when the device has no file list.
        """
        if self.device == "stub":
            return [HARNESS / "stub_device.v"], []
        flist = self.rtl / f"{self.device}.f"
        if not flist.exists():
            raise BuildError(f"no file list {flist}")
        return tools.file_list(flist)

    def key(self) -> str:
        """Directory name of the builds."""
        text = repr((self.params, self.defines, str(self.rtl) if self.rtl != ROOT / "rtl" else ""))
        tail = "" if text == repr(((), (), "")) else "-" + hashlib.sha256(text.encode()).hexdigest()[:10]
        return f"{self.device}-{self.data_w}{'-waves' if self.waves else ''}{tail}"


def tool_env() -> dict[str, str]:
    """Environment for Verilator and its make, with this interpreter first on PATH."""
    env = tools.verilator_env()
    env["PATH"] = str(Path(sys.executable).parent) + os.pathsep + env["PATH"]
    return env


@cache
def verilator_include() -> Path:
    """Directory of verilated.h."""
    return Path(run([tools.verilator(), "--getenv", "VERILATOR_ROOT"]).strip()) / "include"


def jobs() -> int:
    """Compilers to run at once: SVM_JOBS, or the number of CPUs."""
    return int(os.environ.get("SVM_JOBS", os.cpu_count() or 1))


def run(cmd: Sequence[str | Path], **kw: Any) -> str:
    """Run a tool quietly; its output.

    Raises BuildError with the output when it fails.
    """
    p = subprocess.run(
        [str(c) for c in cmd],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=tool_env(),
        **kw,
    )
    if p.returncode:
        raise BuildError(f"{' '.join(map(str, cmd))}\n{p.stdout[-8000:]}")
    return p.stdout


def hash_of(files: Sequence[Path], *words: object) -> str:
    """Hash of the names and contents of files and of whatever else decides a build."""
    h = hashlib.sha256(repr(words).encode())
    for f in files:
        h.update(f.name.encode())
        h.update(f.read_bytes())
    return h.hexdigest()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a lock file against other processes while the body runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def target(directory: Path, name: str, digest: str) -> Iterator[bool]:
    """Yields True, under a lock, when `name` of this digest must be made; stamps it afterwards."""
    stamp = directory / f"{name}.stamp"
    with locked(directory / f"{name}.lock"):
        stale = not stamp.exists() or stamp.read_text() != digest
        if stale:
            stamp.unlink(missing_ok=True)
        yield stale
        if stale:
            stamp.write_text(digest)


def _headers() -> list[Path]:
    return sorted(HARNESS.glob("*.h"))


def model(design: Design) -> Path:
    """The Verilated device as static libraries; its directory."""
    files, incs = design.sources()
    d = BUILD / "verilator" / design.key()
    top = [HARNESS / "svm_tb.v", HARNESS / "public.vlt"]
    headers = [h for i in incs for h in sorted(i.glob("*.vh"))]
    digest = hash_of(
        [*files, *headers, *top], MODEL_FLAGS, design.parameters, design.defines, str(tools.verilator()), "O2"
    )
    with target(d, "model", digest) as stale:
        if stale:
            obj = d / "obj"
            shutil.rmtree(obj, ignore_errors=True)
            obj.mkdir(parents=True)
            cmd: list[str | Path] = [tools.verilator(), "--cc", "--vpi", "--Mdir", obj, "--prefix", "Vsvm_tb"]
            cmd += ["--top-module", "svm_tb", "--output-split", "20000", *MODEL_FLAGS]
            cmd += ["-CFLAGS", "-fPIC -DVL_TIME_CONTEXT"]
            cmd += ["--trace-vcd"] if design.waves else []
            cmd += [f"-G{k}={v}" for k, v in design.parameters.items()]
            cmd += [f"-D{k}={v}" for k, v in design.defines]
            cmd += [f"-I{i}" for i in incs]
            run([*cmd, top[1], top[0], *files])
            make: list[str | Path] = [tools.need("make"), "-C", obj, "-f", "Vsvm_tb.mk", f"-j{jobs()}"]
            run([*make, *OPT_FLAGS])
    return d


def _objects(design: Design, names: Sequence[str], d: Path) -> list[Path]:
    """Compiles harness sources against the model."""
    cxx = tools.need("g++")
    inc = verilator_include()
    out = []
    found = shutil.which("ccache")
    ccache: list[str | Path] = [found] if found else []
    for n in names:
        o = d / f"{n}.o"
        flags: list[str | Path] = [f"-DVM_TRACE={int(design.waves)}", "-DVM_TRACE_VCD=1"]
        flags += [f"-I{d / 'obj'}", f"-I{HARNESS}", "-isystem", inc, "-isystem", inc / "vltstd"]
        run([*ccache, cxx, *CXX_FLAGS, *flags, "-c", HARNESS / f"{n}.cpp", "-o", o])
        out.append(o)
    return out


def _link(design: Design, name: str, units: Sequence[str], flags: Sequence[str]) -> Path:
    d = model(design)
    out = d / name
    src = [HARNESS / f"{u}.cpp" for u in units]
    model_stamp = (d / "model.stamp").read_text()
    digest = hash_of([*src, *_headers()], CXX_FLAGS, flags, model_stamp)
    with target(d, name, digest) as stale:
        if stale:
            work = d / f"{name}.dir"
            work.mkdir(exist_ok=True)
            (work / "obj").unlink(missing_ok=True)
            (work / "obj").symlink_to("../obj")
            objs = _objects(design, units, work)
            tmp = d / f"{name}.tmp"
            archives = [d / "obj" / "libVsvm_tb.a", d / "obj" / "libverilated.a"]
            run([tools.need("g++"), *objs, *archives, *flags, "-pthread", "-latomic", "-o", tmp])
            tmp.replace(out)
    return out


def library(design: Design | None = None) -> Path:
    """The plain shared library: the device inside, the C API of svm_sim.h outside."""
    return _link(design or Design(), "libsvm_sim.so", ["core", "api", "lib_main"], ["-shared"])


def raw_main(design: Design | None = None) -> Path:
    """The C++ program without Python that answers faults from a table."""
    return _link(design or Design(), "svm_raw", ["core", "api", "lib_main", "raw_main"], [])


def cocotb_exe(design: Design | None = None) -> Path:
    """The executable that cocotb attaches to; exports the C API."""
    import cocotb_tools.config

    libs = cocotb_tools.config.libs_dir
    flags = ["-rdynamic", f"-Wl,-rpath,{libs}", f"-L{libs}", "-lcocotbvpi_verilator"]
    return _link(design or Design(), "svm_tb", ["core", "api", "cocotb_main"], flags)


def icarus(design: Design | None = None) -> tuple[Path, Path]:
    """The Icarus program and the VPI module with the harness."""
    design = design or Design()
    files, incs = design.sources()
    iverilog = tools.icarus()
    d = BUILD / "icarus" / design.key()
    top = [HARNESS / "svm_tb.v", HARNESS / "svm_icarus.v"]
    vvp, vpi = d / "svm_icarus", BUILD / "icarus" / "svm_harness.vpi"
    headers = [h for i in incs for h in sorted(i.glob("*.vh"))]
    digest = hash_of([*files, *headers, *top], design.parameters, design.defines, str(iverilog))
    with target(d, "svm_icarus", digest) as stale:
        if stale:
            cmd: list[str | Path] = [iverilog, "-g2012", "-s", "svm_icarus", "-o", vvp]
            cmd += [f"-Psvm_icarus.{k}={v}" for k, v in design.parameters.items()]
            cmd += [f"-D{k}={v}" for k, v in design.defines]
            cmd += [f"-I{i}" for i in incs]
            run([*cmd, *top, *files])
    units = [HARNESS / f"{u}.cpp" for u in ("core", "api", "icarus_vpi")]
    flags = ["-shared", f"-I{iverilog.parent.parent}/include/iverilog", *CXX_FLAGS]
    with target(vpi.parent, vpi.name, hash_of([*units, *_headers()], flags)) as stale:
        if stale:
            tmp = vpi.with_suffix(".tmp")
            run([tools.need("g++"), *flags, *units, "-o", tmp])
            tmp.replace(vpi)
    return vvp, vpi


def run_cocotb(
    module: str,
    sim: str | None = None,
    *,
    device: str = "svm_device",
    data_w: int = 128,
    params: Mapping[str, int] | None = None,
    defines: Mapping[str, object] | None = None,
    rtl: Path | str | None = None,
    seed: int = 1,
    waves: bool | None = None,
    test_filter: str | None = None,
    extra_env: Mapping[str, str] | None = None,
    test_dir: Path | str | None = None,
    quiet: bool = False,
) -> Path:
    """Build if needed and run a cocotb test module attached to the harness; the results file.

    `sim` is "verilator" or "icarus" (default: SIM, else verilator); `waves` defaults to WAVES=1.
    Raises AssertionError when a test fails, BuildError when a build does.
    """
    from cocotb_tools.check_results import get_results
    from cocotb_tools.runner import get_runner

    sim = sim or os.environ.get("SIM", "verilator")
    waves = waves_wanted() if waves is None else waves
    design = Design.of(device, data_w, params, defines, waves, rtl)
    name = module.rpartition(".")[2]
    where = Path(test_dir) if test_dir else BUILD / "tests" / sim / f"{name}-{design.key()}-{os.getpid()}"
    where.mkdir(parents=True, exist_ok=True)
    env = {"SVM_ATTACHED": sim, "SVM_SEED": str(seed), "SVM_DATA_W": str(data_w), **(extra_env or {})}
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))  # the runner hands sys.path on
    args: list[str] = []
    plus: list[str] = []
    runner = get_runner(sim)
    if sim == "icarus":
        vvp, vpi = icarus(design)
        args = ["-M", str(vpi.parent), "-m", vpi.stem]
        env["SVM_LIBRARY"] = str(vpi)
        plus = [f"+dump={where / 'dump.fst'}"] if waves else []
        build_dir, top = vvp.parent, "svm_icarus"
        link = build_dir / "sim.vvp"
        with locked(build_dir / "link.lock"):
            if not link.is_symlink():
                link.symlink_to(vvp.name)
    elif sim == "verilator":
        build_dir, top = cocotb_exe(design).parent, "svm_tb"
        if waves:
            env["SVM_WAVES"] = str(where / "dump.vcd")
    else:
        raise BuildError(f"unknown simulator {sim}: verilator or icarus")
    env.setdefault("COCOTB_ANSI_OUTPUT", "0")
    xml = (where / "results.xml").resolve()
    with contextlib.suppress(SystemExit):
        runner.test(
            test_module=module,
            hdl_toplevel=top,
            hdl_toplevel_lang="verilog",
            build_dir=build_dir,
            test_dir=where,
            results_xml=str(xml),
            seed=seed,
            test_args=args,
            plusargs=plus,
            waves=waves and sim == "icarus",
            extra_env=env,
            test_filter=test_filter,
            log_file=str(where / "log.txt") if quiet else None,
        )
    log = where / "log.txt"
    text = log.read_text()[-6000:] if quiet and log.exists() else ""
    assert xml.exists(), f"{module}: no results\n{text}"
    tests, failed = get_results(xml)
    assert tests and not failed, f"{module}: {failed} of {tests} tests failed\n{text}"
    return xml


def waves_wanted() -> bool:
    """True when WAVES is set to something other than 0."""
    return os.environ.get("WAVES", "0") not in ("", "0")


def main() -> int:
    """Command line: build one flavour and print its path."""
    import argparse

    ap = argparse.ArgumentParser(description="Build a flavour of the simulation.")
    ap.add_argument("flavour", choices=["lib", "cocotb", "raw", "icarus"])
    ap.add_argument("--device", default="svm_device", choices=["svm_device", "stub"])
    ap.add_argument("--data-w", type=int, default=128)
    ap.add_argument("--waves", action="store_true", default=waves_wanted())
    a = ap.parse_args()
    design = Design.of(a.device, a.data_w, waves=a.waves)
    make = {"lib": library, "cocotb": cocotb_exe, "raw": raw_main, "icarus": icarus}[a.flavour]
    try:
        print(make(design))
    except tools.ToolError as e:
        print(e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
