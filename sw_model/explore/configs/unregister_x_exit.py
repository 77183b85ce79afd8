"""The last mirror goes, and is freed, while the process exits."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.world import MirrorWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = MirrorWorld(sched)
    w.spawn(unregister=w.mirrors[0].unregister(), exit=w.mm.mmput())
    return lambda: None


CONFIG = Config(
    "unregister_x_exit", "The last mirror goes, and is freed, while the process exits.", "mirror", build
)
