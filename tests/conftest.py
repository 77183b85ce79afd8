"""Options of the regression."""

from __future__ import annotations

import pytest

from tests import runner


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--mutants`: plant every bug of tests/mutants_core.py, not only the short list."""
    parser.addoption("--mutants", action="store_true", help="plant every known bug")


def pytest_configure(config: pytest.Config) -> None:
    """Markers."""
    config.addinivalue_line("markers", "mutants: plants a bug; most run only with --mutants")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without --mutants skip the long list; with it run nothing else."""
    full = config.getoption("--mutants")
    for item in items:
        mark = item.get_closest_marker("mutants")
        if full and mark is None:
            item.add_marker(pytest.mark.skip(reason="only planted bugs"))
        elif not full and mark is not None and not mark.kwargs.get("short", False):
            item.add_marker(pytest.mark.skip(reason="--mutants runs it"))


def pytest_report_header() -> str:
    """The seed, so that a run can be repeated."""
    return f"SEED={runner.seed()}"
