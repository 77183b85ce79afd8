"""Each planted bug is found by the tests that claim to cover it, on Icarus."""

from __future__ import annotations

import pytest

from tests.mutants_core import MUTANTS, Mutant, found_by

pytestmark = pytest.mark.icarus


def _params() -> list:
    return [pytest.param(m, id=m.name, marks=pytest.mark.mutants(short=m.short)) for m in MUTANTS]


@pytest.mark.parametrize("mutant", _params())
def test_planted_bug_is_found(mutant: Mutant) -> None:
    failed = found_by(mutant)
    assert failed, f"{mutant.name} survived {mutant.module} {mutant.tests}"
