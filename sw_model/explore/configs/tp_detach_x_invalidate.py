"""A device detaches, and its notifier is freed, while a reclaim is between its two passes."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.interval_world import TwoPassWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = TwoPassWorld(sched, granted=True)
    return w.spawn(detach=w.drivers[0].detach(), reclaim=w.mm.reclaim())


CONFIG = Config(
    "tp_detach_x_invalidate",
    "A device detaches, and its notifier is freed, while a reclaim is between its two passes.",
    "interval",
    build,
)
