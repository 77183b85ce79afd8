"""The whole stack with device memory: 2 operations of the device against 2 of the process."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.full_dmirror import FullDmirrorWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = FullDmirrorWorld(sched)
    device = (w.migrate, w.migrate_back, w.exclusive, w.device_write)
    process = (w.dontneed, w.fork, w.cpu_write, w.evict, w.swap_out)
    sched.spawn(w.some(device, 2), "commands")
    sched.spawn(w.some(process, 2), "process")
    return w.check


CONFIG = Config(
    "dm_full",
    "The whole stack with device memory: 2 operations of the device against 2 of the process.",
    "full",
    build,
    exhaustive=False,
)
