"""The oracle on the device itself: silent without a plant, and each planted fault is reported.

`make test` runs the short list; `--mutants` (make mutants) all of it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tb import plants

SHORT = (
    "completion-before-drain",
    "fill-after-invalidate",
    "pasid-ignored",
    "waiter-keeps-pfn",
    "fault-lost",
    "read-retry-missing",
)
NAMES = [p.name for p in (*plants.RTL, *plants.DRIVER)]

pytestmark = [
    pytest.mark.xdist_group("plants"),
    # A run that ends at the first violation leaves its threads where they are.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def tree() -> Path:
    return plants.make_tree()


@pytest.mark.mutants(short=True)
def test_silent_without_plant(tree: Path) -> None:
    ok, text = plants.silent(tree)
    assert ok, text


def _params() -> list:
    return [pytest.param(n, marks=pytest.mark.mutants(short=n in SHORT)) for n in NAMES]


@pytest.mark.parametrize("name", _params())
def test_plant_is_caught(name: str, tree: Path) -> None:
    ok, text = plants.check(name, tree)
    assert ok, text


def test_names_are_unique() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert set(SHORT) <= set(NAMES)
