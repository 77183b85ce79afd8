"""The whole stack: a device write against the OOM reaper, which a second driver refuses."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from sw_model.explore.config import Config
from sw_model.explore.full import FullWorld
from sw_model.explore.world import now
from sw_model.mmu_notifier import MmuNotifier, MmuNotifierOps, mmu_notifier_register
from sw_model.oom import oom_reap_task_mm
from sw_model.sched import Scheduler


class Refuse(MmuNotifierOps):
    """A classic notifier that never works without sleeping (nouveau)."""

    async def invalidate_range_start(self, sub: Any, range_: Any) -> int:  # type: ignore[override]
        """-EAGAIN unless blockable."""
        return 0 if range_.blockable else -errno.EAGAIN


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = FullWorld(sched)
    now(mmu_notifier_register(MmuNotifier(Refuse()), w.mm))

    async def reap() -> None:
        assert not await oom_reap_task_mm(w.mm), "it was not refused"

    return w.spawn(reap=reap())


CONFIG = Config(
    "full_reap_refused_x_fault",
    "The whole stack: a device write against the OOM reaper, which a second driver refuses.",
    "full",
    build,
    exhaustive=False,
)
