"""The OOM reaper against accesses of the device to migrated memory."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.dmirror_world import DmirrorWorld
from sw_model.explore.world import now
from sw_model.oom import oom_reap_task_mm
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = DmirrorWorld(sched)
    now(w.migrate(0, 2))
    return w.spawn(reap=oom_reap_task_mm(w.mm), read=w.device_read(), write=w.device_write(1))


CONFIG = Config(
    "reap_x_device",
    "The OOM reaper against accesses of the device to migrated memory.",
    "dmirror",
    build,
    exhaustive=False,
)
