"""Up to 8 operations on 2 pages, also eviction, snapshots, swap and migration by the CPU."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.dmirror_world import EVERYTHING, DmirrorWorld, Script
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = DmirrorWorld(sched)
    return w.spawn(operations=Script(w, (*EVERYTHING, "protect", "snapshot"), 8).run())


CONFIG = Config(
    "dm_all_operations",
    "Up to 8 operations on 2 pages, also eviction, snapshots, swap and migration by the CPU.",
    "dmirror",
    build,
    exhaustive=False,
)
