"""Every lint check of `make lint` is clean."""

import pytest

from tb.lint import CHECKS


@pytest.mark.parametrize("check", CHECKS)
def test_lint(check):
    ok, output = CHECKS[check]()
    assert ok, output
