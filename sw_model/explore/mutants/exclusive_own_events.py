"""The driver does not skip its own EXCLUSIVE events."""

from __future__ import annotations

from typing import Any

from sw_model.dmirror import _MirrorOps
from sw_model.explore.config import Mutant
from sw_model.mmu_notifier import mmu_interval_set_seq


async def invalidate(self: Any, sub: Any, range_: Any, cur_seq: int) -> bool:
    """Every event is alike."""
    await sub.mutex.lock()
    mmu_interval_set_seq(sub, cur_seq)
    sub.foreign_events += 1
    sub.erase(range_.start, range_.end)
    sub.mutex.unlock()
    return True


MUTANT = Mutant(
    "exclusive_own_events",
    "the event of make_device_exclusive() ends the read section around it, every time",
    "include/linux/mmu_notifier.h:MMU_NOTIFY_EXCLUSIVE",
    "dm_exclusive_x_other_page",
    "Livelock",
    [(_MirrorOps, "invalidate", invalidate)],
)
