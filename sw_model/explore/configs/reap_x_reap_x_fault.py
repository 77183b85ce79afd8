"""Two tasks that reap one process (OOM reaper, process_mrelease) against a fault."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.world import World
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = World(sched)
    w.spawn(fault=w.dev.fault(), reaper=w.mm.reap(), mrelease=w.mm.reap())
    return w.dev.check


CONFIG = Config(
    "reap_x_reap_x_fault",
    "Two tasks that reap one process (OOM reaper, process_mrelease) against a fault.",
    "interval",
    build,
    long=True,
)
