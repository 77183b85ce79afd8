"""The reaper is let through although a flush of another invalidation is pending."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.world import Driver


async def try_revoke(self: Any, mark: Callable[[], None]) -> bool:
    """Only what is granted is looked at."""
    if self.granted or not await self.lock.trylock():
        return False
    mark()
    self.lock.unlock()
    return True


MUTANT = Mutant(
    "reap_no_wait",
    "the page is freed while the device drains",
    "the driver rule of docs/device-interface.md",
    "reap_x_invalidate",
    "Stale",
    [(Driver, "try_revoke", try_revoke)],
)
