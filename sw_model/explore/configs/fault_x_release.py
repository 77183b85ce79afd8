"""One fault against the release of a mirror by the exit of its process."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.world import MirrorWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = MirrorWorld(sched)
    m = w.mirrors[0]
    w.spawn(fault=m.fault(w.mm), exit=w.mm.mmput())
    return m.dev.check


CONFIG = Config(
    "fault_x_release",
    "One fault against the release of a mirror by the exit of its process.",
    "mirror",
    build,
)
