"""Options of the regression, and what it leaves out."""

from __future__ import annotations

import pytest

from tb import runner, tools


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--mutants`: plant every known bug, and run nothing else."""
    parser.addoption("--mutants", action="store_true", help="plant every known bug, and run nothing else")


def pytest_configure(config: pytest.Config) -> None:
    """Markers."""
    config.addinivalue_line(
        "markers", "mutants(short): plants a bug; without --mutants only the short ones run"
    )
    config.addinivalue_line("markers", "icarus: needs Icarus Verilog; skipped where it is not installed")


def _wanted(item: pytest.Item, mutants: bool) -> bool:
    mark = item.get_closest_marker("mutants")
    if mutants:
        return mark is not None
    return mark is None or mark.kwargs.get("short", False)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what this kind of run is not about; skip what needs a simulator that is missing."""
    mutants = config.getoption("--mutants")
    left_out = [item for item in items if not _wanted(item, mutants)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if _wanted(item, mutants)]
    try:
        tools.icarus()
    except tools.ToolError as e:
        for item in items:
            if item.get_closest_marker("icarus"):
                item.add_marker(pytest.mark.skip(reason=str(e)))


def pytest_report_header() -> str:
    """The seed, so that a run can be repeated."""
    return f"SEED={runner.seed()}"
