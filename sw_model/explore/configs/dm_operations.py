"""Device memory: a generated sequence of operations of a process and its device, checked after each one."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.dmirror_world import OPERATIONS, DmirrorWorld, Script
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = DmirrorWorld(sched)
    return w.spawn(operations=Script(w, OPERATIONS, 8).run())


CONFIG = Config(
    "dm_operations",
    "Up to 8 operations on 2 pages: migrate, protect, fork, zap, exclusive, CPU and device accesses.",
    "dmirror",
    build,
    exhaustive=False,
)
