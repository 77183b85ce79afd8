"""Device memory: every sequence of at most three operations."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.dmirror_world import OPERATIONS, DmirrorWorld, Script
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = DmirrorWorld(sched)
    return w.spawn(operations=Script(w, OPERATIONS, 3).run())


CONFIG = Config(
    "dm_operations_short",
    "The operations of dm_operations, at most 3: preempt runs every sequence.",
    "dmirror",
    build,
    exhaustive=False,
)
