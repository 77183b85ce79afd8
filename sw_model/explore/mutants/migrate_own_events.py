"""The driver skips its own MIGRATE events."""

from __future__ import annotations

from typing import Any

from sw_model.dmirror import _MirrorOps
from sw_model.explore.config import Mutant
from sw_model.mmu_notifier import MmuNotifyEvent

honest = _MirrorOps.invalidate


async def invalidate(self: Any, sub: Any, range_: Any, cur_seq: int) -> bool:
    """Own MIGRATE: neither the sequence nor the entries change."""
    if range_.owner is sub.device and range_.event == MmuNotifyEvent.MIGRATE:
        return True
    return await honest(self, sub, range_, cur_seq)


MUTANT = Mutant(
    "migrate_own_events",
    "the device writes the page that is being copied: its entry still names it",
    "lib/test_hmm.c:dmirror_interval_invalidate (reading); found in the model",
    "dm_migrate_x_device_write",
    "Stale",
    [(_MirrorOps, "invalidate", invalidate)],
    shows="the CPU has MIGRATION",
)
