"""The driver forgets the invalidation that its detach has posted."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.world import INVALIDATE, Completion, Driver
from sw_model.locking import kfree


async def detach(self: Any) -> None:
    """The command is not among those that callbacks wait for."""
    await self.lock.lock()
    self.detaching = True
    self.granted = False
    done = Completion()
    self.dev.post(INVALIDATE, 0, False, done)
    self.lock.unlock()
    await done.wait()
    await self.flush()
    await self.remove()
    self.dev.attachment = None
    kfree(self)


MUTANT = Mutant(
    "detach_forgets",
    "an invalidation during a detach finds nothing granted and does not wait for the drain",
    "found by the explorer in its own model of a driver",
    "drv_detach_x_reclaim",
    "Stale",
    [(Driver, "detach", detach)],
)
