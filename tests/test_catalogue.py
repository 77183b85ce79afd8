"""docs/catalogue.md says what the code and the explorer say; each bug is in it, with a line that shows it."""

from __future__ import annotations

import re

import pytest

from sw_model.explore.catalogue import ENTRIES, UNEXPRESSED, by_entry, unexplained
from sw_model.explore.config import configs, mutants
from sw_model.explore.runner import replay, search
from sw_model.explore.standard import clean_configs
from tb.catalogue import DOC, cell, table
from tb.explore.__main__ import replay_line
from tb.explore.mutants import DEVICE_MUTANTS

#: oracle and line of each row
LINES = re.findall(r"^\| [^|]+ \|.*\| (\w+) \| [^|]+ \| \d+ \| `(\S+ \S+ \S+)` \|$", DOC.read_text(), re.M)
#: configuration and number of schedules of those that dpor exhausts
EXHAUSTED = re.findall(r"^\| (\w+) \|.*\| all \| dpor (\d+) \|", DOC.read_text(), re.M)


def test_every_published_bug_is_a_mutant_or_has_a_reason() -> None:
    assert not unexplained()
    assert set(UNEXPRESSED) <= set(ENTRIES)
    known = {e for m in mutants().values() for e in m.entries}
    assert known <= set(by_entry())


def test_the_catalogue_has_every_mutant_and_every_configuration() -> None:
    in_rows = {line.split()[0].partition("+")[2] for _, line in LINES if not line.startswith("rtl:")}
    assert in_rows == set(mutants())
    planted = {line.split()[0].partition("@")[2] for _, line in LINES if line.startswith("rtl:")}
    assert planted == {d.plant for d in DEVICE_MUTANTS}
    assert set(re.findall(r"^\| (\w+) \|", DOC.read_text(), re.M)) >= set(clean_configs())


@pytest.mark.parametrize(("kind", "line"), LINES, ids=[line.split()[0] for _, line in LINES])
def test_the_shortest_schedule_shows_the_bug(kind: str, line: str) -> None:
    out = replay_line(line)[0] if line.startswith("rtl:") else replay(line, trace=False)
    assert out.kind == kind


@pytest.mark.parametrize(("name", "count"), [(n, int(c)) for n, c in EXHAUSTED if int(c) < 900])
def test_published_counts(name: str, count: int) -> None:
    assert configs()[name].exhaustive
    r = search(name, "dpor", budget=5000, twice=False)
    assert r.complete and r.failure is None and r.schedules == count


def test_table() -> None:
    assert table(("a", "b"), [[cell("x|y"), "1"]], 1) == "| a | b |\n| --- | ---: |\n| x\\|y | 1 |\n"
