"""The last mirror goes, and is freed, while the page is reclaimed."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.world import MirrorWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = MirrorWorld(sched, pins=1)
    w.spawn(unregister=w.mirrors[0].unregister(), reclaim=w.mm.user_reclaim())
    return lambda: None


CONFIG = Config(
    "unregister_x_invalidate",
    "The last mirror goes, and is freed, while the page is reclaimed.",
    "mirror",
    build,
)
