"""The OOM reaper against exclusive access of the device."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.dmirror_world import DmirrorWorld
from sw_model.oom import oom_reap_task_mm
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = DmirrorWorld(sched)
    return w.spawn(reap=oom_reap_task_mm(w.mm), exclusive=w.exclusive())


CONFIG = Config(
    "reap_x_exclusive",
    "The OOM reaper against exclusive access of the device.",
    "dmirror",
    build,
    exhaustive=False,
)
