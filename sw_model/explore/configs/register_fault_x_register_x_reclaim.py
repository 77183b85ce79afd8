"""Two mirrors register, one faults at once, the page is reclaimed."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.world import MirrorWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = MirrorWorld(sched, mirrors=2, register=False)
    first, second = w.mirrors

    async def use() -> None:
        if await first.register(w.mm) == 0:
            await first.fault(w.mm)

    w.spawn(use=use(), register=second.register(w.mm), reclaim=w.mm.reclaim())
    return first.dev.check


CONFIG = Config(
    "register_fault_x_register_x_reclaim",
    "Two mirrors register, one faults at once, the page is reclaimed.",
    "mirror",
    build,
)
