"""Two notifiers of mmu_notifier_get() are put while the page is reclaimed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sw_model.explore.config import Config
from sw_model.explore.world import World, now
from sw_model.locking import kfree
from sw_model.mmu_notifier import MmuNotifier, MmuNotifierOps, mmu_notifier_get, mmu_notifier_put
from sw_model.sched import Scheduler, point


class Shared(MmuNotifierOps):
    """One notifier for each (mm, ops), freed behind its last put."""

    async def alloc_notifier(self, mm: Any) -> MmuNotifier:  # type: ignore[override]
        """A new one."""
        return MmuNotifier()

    async def free_notifier(self, sub: MmuNotifier) -> None:  # type: ignore[override]
        """Its memory goes."""
        kfree(sub)

    async def invalidate_range_start(self, sub: MmuNotifier, range_: Any) -> int:  # type: ignore[override]
        """Looks at itself before and after another CPU could run."""
        await point("callback", sub)
        assert sub.ops is self
        return 0


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = World(sched)
    first, second = (now(mmu_notifier_get(Shared(), w.mm)) for _ in range(2))
    w.spawn(put0=mmu_notifier_put(first), put1=mmu_notifier_put(second), reclaim=w.mm.reclaim())
    return lambda: None


CONFIG = Config(
    "put_x_invalidate",
    "Two notifiers of mmu_notifier_get() are put while the page is reclaimed.",
    "interval",
    build,
)
