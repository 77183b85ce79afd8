"""The explorer finds every published bug that is put back, without being told the schedule."""

from __future__ import annotations

import pytest

from sw_model.explore.config import configs, mutants
from sw_model.explore.runner import replay, search
from sw_model.explore.shrink import shrink

ALL = list(mutants())


@pytest.mark.parametrize("name", ALL)
def test_found_at_random(name: str) -> None:
    """By a seeded strategy; the line repeats it, and so does the shrunk one."""
    m = mutants()[name]
    r = search(m.config, m.strategy, mutant=name, budget=3000, twice=False)
    assert r.failure is not None, "not found"
    if configs()[m.config].exhaustive:
        assert r.failure.kind in (m.symptom, "UseAfterFree")
    first, second = replay(r.line), replay(r.line)
    assert first.kind == r.failure.kind and first.ids == r.failure.ids
    assert first.events == second.events and first.text == second.text
    small = shrink(m.config, r.failure, name, budget=400)
    assert small.switches <= r.failure.switches
    assert replay(f"{m.config}+{name} choices {small.choices or '-'}").kind == r.failure.kind


@pytest.mark.parametrize(
    "name",
    [n for n in ALL if configs()[mutants()[n].config].exhaustive and mutants()[n].strategy == "random"],
)
def test_found_by_dpor(name: str) -> None:
    r = search(mutants()[name].config, "dpor", mutant=name, budget=1000, twice=False)
    assert r.failure is not None


@pytest.mark.parametrize("name", ["no_retry", "d12", "f20"])
def test_off_means_off(name: str) -> None:
    """After a mutant has been on, the code is the fixed one."""
    m = mutants()[name]
    with m.on():
        pass
    assert search(m.config, "random", budget=100, twice=False).failure is None
