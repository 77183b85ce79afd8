"""A non-blockable invalidation that a classic notifier refuses, against an attach and a fault."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from sw_model.explore.config import Config
from sw_model.explore.world import BASE, INTERVAL_OPS, PAGE, Driver, World, now
from sw_model.locking import warn_on
from sw_model.mmu_notifier import (
    MmuNotifier,
    MmuNotifierOps,
    MmuNotifierRange,
    MmuNotifyEvent,
    mmu_interval_notifier_insert,
    mmu_notifier_invalidate_range_start,
    mmu_notifier_register,
)
from sw_model.sched import Scheduler


class Count(MmuNotifierOps):
    """A classic notifier whose starts and ends have to pair."""

    def __init__(self) -> None:
        self.depth = 0

    async def invalidate_range_start(self, sub: Any, range_: Any) -> int:  # type: ignore[override]
        """One more."""
        self.depth += 1
        return 0

    async def invalidate_range_end(self, sub: Any, range_: Any) -> None:  # type: ignore[override]
        """One less."""
        self.depth -= 1


class Refuse(MmuNotifierOps):
    """A classic notifier that never works without sleeping (nouveau)."""

    async def invalidate_range_start(self, sub: Any, range_: Any) -> int:  # type: ignore[override]
        """-EAGAIN unless blockable."""
        return 0 if range_.blockable else -errno.EAGAIN


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = World(sched)
    count = Count()
    for ops in (count, Refuse()):
        now(mmu_notifier_register(MmuNotifier(ops), w.mm))
    late = Driver(w.mm, w.dev)

    async def reap() -> None:
        r = MmuNotifierRange(w.mm, BASE, BASE + PAGE, MmuNotifyEvent.CLEAR, blockable=False)
        warn_on(not await mmu_notifier_invalidate_range_start(r), "it was not refused")

    async def attach() -> None:
        await mmu_interval_notifier_insert(late, w.mm, BASE, PAGE, INTERVAL_OPS)
        await late.fault()

    def check() -> None:
        w.dev.check()
        assert not count.depth, "a start without its end"

    w.spawn(reap=reap(), attach=attach())
    return check


CONFIG = Config(
    "nonblock_x_fault",
    "A non-blockable invalidation that a classic notifier refuses, against an attach and a fault.",
    "interval",
    build,
)
