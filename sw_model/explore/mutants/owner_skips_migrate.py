"""The MIGRATE event that a driver owns does not end the sections of its own faults."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.interval_world import OwnerDriver
from sw_model.mmu_notifier import MmuNotifierRange, MmuNotifyEvent


def own(self: Any, range_: MmuNotifierRange) -> bool:
    """All events of its own are skipped (dmirror_interval_invalidate)."""
    return range_.event in (MmuNotifyEvent.MIGRATE, MmuNotifyEvent.EXCLUSIVE) and range_.owner is self.dev


MUTANT = Mutant(
    "owner_skips_migrate",
    "a fault that walked before the migration maps the frame that the page has left",
    "reading of lib/test_hmm.c:dmirror_interval_invalidate",
    "owner_migrate_x_fault",
    "Stale",
    [(OwnerDriver, "skips", own)],
)
