"""An access through a cached translation against one reclaim."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.world import World
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = World(sched, granted=True)
    w.spawn(access=w.dev.access(), reclaim=w.mm.reclaim())
    return w.dev.check


CONFIG = Config(
    "access_x_invalidate", "An access through a cached translation against one reclaim.", "interval", build
)
