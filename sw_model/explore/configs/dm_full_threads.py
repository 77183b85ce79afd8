"""As dm_full with two command threads of the device, 3 and 2 operations, against 3 of the process."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.full_dmirror import FullDmirrorWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = FullDmirrorWorld(sched, pages=2)
    device = (w.migrate, w.migrate_back, w.exclusive, w.device_write)
    process = (w.dontneed, w.fork, w.cpu_write, w.evict, w.swap_out)
    sched.spawn(w.some(device, 3), "commands0")
    sched.spawn(w.some(device, 2), "commands1")
    sched.spawn(w.some(process, 3), "process")
    return w.check


CONFIG = Config(
    "dm_full_threads",
    "As dm_full with two command threads of the device, 3 and 2 operations, against 3 of the process.",
    "full",
    build,
    exhaustive=False,
)
