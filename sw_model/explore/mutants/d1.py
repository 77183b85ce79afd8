"""D1: a non-blocking start that fails keeps its lock."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.world import Driver


async def try_revoke(self: Any, mark: Any) -> bool:
    """Returns -EAGAIN after the lock has been taken."""
    if not await self.lock.trylock():
        return False
    if self.granted or self.pending:
        return False
    mark()
    self.lock.unlock()
    return True


MUTANT = Mutant(
    "d1",
    "the OOM reaper's refused invalidation leaves the driver lock taken: the next fault hangs",
    "ca748c39ea3f, fixed in 20190611160951.23135-1-jgg@ziepe.ca (umem_rwsem)",
    "drv_nonblock_x_fault",
    "KernelBug",
    [(Driver, "try_revoke", try_revoke)],
    entries=("D1",),
)
