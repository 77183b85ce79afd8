"""The OOM reaper, which must not block, against a reclaim and an access."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.world import World
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = World(sched, granted=True)
    w.spawn(access=w.dev.access(), reap=w.mm.reap(), reclaim=w.mm.reclaim())
    return w.dev.check


CONFIG = Config(
    "reap_x_invalidate",
    "The OOM reaper, which must not block, against a reclaim and an access.",
    "interval",
    build,
)
