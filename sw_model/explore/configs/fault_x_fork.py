"""One fault against fork, which makes the page read-only."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.world import World
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = World(sched)
    w.spawn(fault=w.dev.fault(), fork=w.mm.fork())
    return w.dev.check


CONFIG = Config("fault_x_fork", "One fault against fork, which makes the page read-only.", "interval", build)
