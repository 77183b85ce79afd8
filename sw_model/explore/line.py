"""A run as one line: `[commit] configuration[+mutant] strategy argument`."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Line(NamedTuple):
    """The parts of a line. `commit` is empty where the line names none, `mutant` where there is none."""

    commit: str
    config: str
    mutant: str
    strategy: str
    arg: str

    def __str__(self) -> str:
        name = f"{self.config}+{self.mutant}" if self.mutant else self.config
        return " ".join(filter(None, (self.commit, name, self.strategy, self.arg or "-")))


def parse(text: str) -> Line:
    """The parts of a line. ValueError for anything else."""
    parts = text.split()
    if len(parts) not in (3, 4):
        raise ValueError(f"a line is '[commit] config[+mutant] strategy argument', not {text!r}")
    commit = parts.pop(0) if len(parts) == 4 else ""
    config, _, mutant = parts[0].partition("+")
    return Line(commit, config, mutant, parts[1], parts[2])


@cache
def commit() -> str:
    """The commit of the sources, with `-dirty` when files differ from it; empty outside a repository."""
    cmd = (
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--abbrev=12",
        "--dirty",
        "--exclude=*",
    )
    try:
        return subprocess.run(cmd, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def differs(line: Line) -> str:
    """Why a line may give another run than it once did; empty if its commit is the present one."""
    here = commit()
    if not line.commit or line.commit == here:
        return ""
    return f"the line is of commit {line.commit}, the sources are {here or 'outside a repository'}"
