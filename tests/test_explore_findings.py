"""docs/findings: every line that a page prints replays its failure, and only with the bug in."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sw_model.explore.config import mutants
from sw_model.explore.line import parse
from sw_model.explore.runner import replay

ROOT = Path(__file__).parent.parent / "docs" / "findings"
PAGES = sorted(p for p in ROOT.glob("*.md") if p.name != "README.md")
HEADINGS = ["Recipe", "Minimal schedule", "What the device does", "Fix", "Seen"]
LINES = [(p.stem, line) for p in PAGES for line in re.findall(r"make replay LINE='(.*)'", p.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_every_page_has_its_parts(page: Path) -> None:
    text = page.read_text()
    assert re.findall(r"^## (.*)$", text, re.M) == HEADINGS
    assert page.stem in {p for p, _ in LINES}, "no line to replay"
    assert f"({page.name})" in (ROOT / "README.md").read_text(), "not in the index"


@pytest.mark.parametrize(("page", "line"), LINES, ids=[f"{p}-{i}" for i, (p, _) in enumerate(LINES)])
def test_every_line_fails_with_the_bug_only(page: str, line: str) -> None:
    run = parse(line)
    bug = mutants()[run.mutant]
    out = replay(line)
    assert (out.kind, bug.shows in out.text) == (bug.symptom, True), out.text
    clean = replay(str(run._replace(mutant="")))
    assert clean.kind is None, clean.text


def test_the_texts_are_those_of_the_runs() -> None:
    """What a page quotes of a failure is what its lines end with."""
    for page in PAGES:
        said = " ".join(page.read_text().split())
        for kind, text in re.findall(r"`(Stale|KernelBug|Livelock|Deadlock|AssertionError): ([^`]*)`", said):
            ends = [replay(line).text for p, line in LINES if p == page.stem]
            assert any(f"{kind}: {text}" in e for e in ends), f"{page.name}: {kind}: {text}"
