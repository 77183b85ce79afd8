"""D5: the notifier goes before the device has been stopped."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.world import INVALIDATE, Completion, Driver
from sw_model.locking import kfree


async def detach(self: Any) -> None:
    """Release first, stop the hardware then."""
    await self.lock.lock()
    self.detaching = True
    self.lock.unlock()
    await self.flush()
    await self.remove()
    done = Completion()
    self.dev.post(INVALIDATE, 0, False, done)
    await done.wait()
    self.dev.attachment = None
    kfree(self)


MUTANT = Mutant(
    "d5",
    "the page is reclaimed without a callback while the device maps it",
    "mlx5 e6fb246ccafb (order of destruction)",
    "drv_detach_x_reclaim",
    "Stale",
    [(Driver, "detach", detach)],
    entries=("D5",),
)
