"""The README's example runs."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_example_runs():
    text = (ROOT / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.S)[1]
    scope: dict = {}
    exec(code, scope)
    assert scope["driver"].stats["faults"] > 0
    assert scope["driver"].stats["invalidations"] > 0


def test_every_make_target_it_names_exists():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake ([a-z]+)\b", (ROOT / "README.md").read_text()):
        assert re.search(rf"^{target}:", makefile, re.M), target
