"""The README's example runs, and what the documents name is there."""

import importlib.util
import re

import pytest

from tb.tools import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "traces" / "README.md"]


def test_the_example_runs():
    text = (ROOT / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.S)[1]
    scope: dict = {}
    exec(code, scope)
    assert scope["driver"].stats["faults"] > 0
    assert scope["driver"].stats["invalidations"] > 0


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_a_page_names_exists(page):
    """Make targets, modules, linked pages and files of the repository."""
    text = page.read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:`|^    )make ([a-z]+)\b", text, re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target
    for module in re.findall(r"-m (tb\.\w+)", text):
        assert importlib.util.find_spec(module), module
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / link).exists(), link
    for file in re.findall(r"`((?:docs|interface|rtl|sw_model|tb|tests|traces)/[\w./]*)`", text):
        assert (ROOT / file).exists(), file
