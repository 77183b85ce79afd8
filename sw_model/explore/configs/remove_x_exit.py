"""An interval notifier is removed and freed while the process exits."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.world import World
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = World(sched)
    w.spawn(detach=w.drv.detach(), exit=w.mm.mmput())
    return lambda: None


CONFIG = Config(
    "remove_x_exit",
    "An interval notifier is removed and freed while the process exits.",
    "interval",
    build,
)
