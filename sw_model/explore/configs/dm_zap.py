"""Device memory: a generated sequence without a change of permissions."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.dmirror_world import DmirrorWorld, Script
from sw_model.sched import Scheduler

KINDS = ("migrate", "dontneed", "device_read", "cpu_read", "cpu_write")


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = DmirrorWorld(sched)
    return w.spawn(operations=Script(w, KINDS, 4).run())


CONFIG = Config(
    "dm_zap",
    "Up to 4 operations on 2 pages: migrate to the device, MADV_DONTNEED, device reads, CPU accesses.",
    "dmirror",
    build,
    exhaustive=False,
)
