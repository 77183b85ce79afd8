"""Two passes: the second one does not wait for the flush."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.interval_world import TwoPassDriver


async def finish(self: Any, flush: Any) -> None:
    """No fence."""
    if flush.mine is not None:
        self.pending.remove(flush.mine)


MUTANT = Mutant(
    "tp_no_wait",
    "the page goes while the device still uses it",
    "reading of 7aba71dbc416 and its users",
    "tp_access_x_invalidate",
    "Stale",
    [(TwoPassDriver, "wait_flush", finish)],
)
