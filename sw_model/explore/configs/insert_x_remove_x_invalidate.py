"""A device attaches and faults, another detaches, while the page is reclaimed."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.interval_world import LateWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = LateWorld(sched)
    return w.spawn(attach=w.attach_and_fault(), detach=w.first.detach(), reclaim=w.mm.reclaim())


CONFIG = Config(
    "insert_x_remove_x_invalidate",
    "A device attaches and faults, another detaches, while the page is reclaimed.",
    "interval",
    build,
    long=True,
)
