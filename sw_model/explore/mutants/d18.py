"""D18: when the process exits, the callback does not wait for the device."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.driver_world import ReleaseOps
from sw_model.explore.world import INVALIDATE, Completion


async def released(self: Any, sub: Any, mark: Any) -> None:
    """It is all going away anyway."""
    await sub.lock.lock()
    mark()
    sub.granted = False
    sub.dev.post(INVALIDATE, 0, False, Completion())
    sub.lock.unlock()


MUTANT = Mutant(
    "d18",
    "the pages of an exiting process go back while the device uses them",
    "review of xe userptr",
    "drv_access_x_exit",
    "Stale",
    [(ReleaseOps, "released", released)],
    entries=("D18",),
)
