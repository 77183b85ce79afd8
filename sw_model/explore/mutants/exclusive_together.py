"""Requests for exclusive access to a page run side by side."""

from __future__ import annotations

from sw_model.dmirror import Dmirror
from sw_model.explore.config import Mutant

MUTANT = Mutant(
    "exclusive_together",
    "each request takes the page back from the others, and so ends their read sections: nobody gets it",
    "found by the explorer in dm_three_threads",
    "dm_four_exclusive",
    "Livelock",
    [(Dmirror, "exclusive", Dmirror._exclusive)],
)
