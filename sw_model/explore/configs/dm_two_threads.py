"""Device memory: two threads, each with a generated sequence of operations."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.dmirror_world import EVERYTHING, DmirrorWorld, OnePage
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = DmirrorWorld(sched)
    return w.spawn(**{f"thread{i}": OnePage(w, EVERYTHING, 3, i).run() for i in range(2)})


CONFIG = Config(
    "dm_two_threads",
    "Two threads of up to 3 operations each: migrate, exclusive, fork, zap, swap, CPU and device accesses.",
    "dmirror",
    build,
    exhaustive=False,
)
