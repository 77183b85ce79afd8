"""Two devices whose invalidation has two passes, each with an access, against one reclaim."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.interval_world import TwoPassWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = TwoPassWorld(sched, granted=True)
    a, b = w.mm.devices
    return w.spawn(access0=a.access(), access1=b.access(), reclaim=w.mm.reclaim())


CONFIG = Config(
    "tp_access_x_invalidate",
    "Two devices whose invalidation has two passes, each with an access, against one reclaim.",
    "interval",
    build,
)
