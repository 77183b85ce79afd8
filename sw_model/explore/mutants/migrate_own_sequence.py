"""An own MIGRATE event takes the device's entries, but does not end read sections."""

from __future__ import annotations

from typing import Any

from sw_model.dmirror import _MirrorOps
from sw_model.explore.config import Mutant
from sw_model.mmu_notifier import MmuNotifyEvent

honest = _MirrorOps.invalidate


async def invalidate(self: Any, sub: Any, range_: Any, cur_seq: int) -> bool:
    """No mmu_interval_set_seq() for an own MIGRATE event."""
    if range_.owner is not sub.device or range_.event != MmuNotifyEvent.MIGRATE:
        return await honest(self, sub, range_, cur_seq)
    await sub.mutex.lock()
    sub.erase(range_.start, range_.end, keep_own=True)
    sub.mutex.unlock()
    return True


MUTANT = Mutant(
    "migrate_own_sequence",
    "a device fault that walked before the migration maps the page that has moved away, and was freed",
    "lib/test_hmm.c:dmirror_interval_invalidate (reading); found in the model",
    "dm_migrate_x_device_read",
    "Stale",
    [(_MirrorOps, "invalidate", invalidate)],
    shows="(free)",
)
