"""An interval notifier is removed and freed while the page is reclaimed."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.world import World
from sw_model.locking import kfree
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = World(sched)

    async def remove() -> None:
        await w.drv.remove()
        kfree(w.drv)

    w.spawn(remove=remove(), reclaim=w.mm.reclaim())
    return lambda: None


CONFIG = Config(
    "remove_x_invalidate",
    "An interval notifier is removed and freed while the page is reclaimed.",
    "interval",
    build,
)
