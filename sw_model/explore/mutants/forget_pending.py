"""The driver forgets invalidations that have not completed."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.world import INVALIDATE, Completion, Driver


async def revoke(self: Any, mark: Any) -> None:
    """Waits for its own command only."""
    await self.lock.lock()
    mark()
    mine = None
    if self.granted:
        self.granted = False
        mine = Completion()
        self.dev.post(INVALIDATE, 0, False, mine)
    self.lock.unlock()
    if mine is not None:
        await self.wait_done(mine)


MUTANT = Mutant(
    "forget_pending",
    "a second invalidation finds nothing granted and does not wait for the first one's drain",
    "tests/test_driver.py",
    "access_x_two_invalidates",
    "Stale",
    [(Driver, "revoke", revoke)],
)
