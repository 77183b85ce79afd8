"""An access of a device whose invalidation has two passes against two reclaims."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.interval_world import TwoPassWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = TwoPassWorld(sched, (2,), granted=True)
    return w.spawn(access=w.mm.devices[0].access(), reclaim0=w.mm.reclaim(), reclaim1=w.mm.reclaim())


CONFIG = Config(
    "tp_access_x_two_invalidates",
    "An access of a device whose invalidation has two passes against two reclaims.",
    "interval",
    build,
)
