"""One fault against one reclaim, mirror API."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.world import MirrorWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = MirrorWorld(sched)
    m = w.mirrors[0]
    w.spawn(fault=m.fault(w.mm), reclaim=w.mm.reclaim())
    return m.dev.check


CONFIG = Config("mirror_fault_x_invalidate", "One fault against one reclaim, mirror API.", "mirror", build)
