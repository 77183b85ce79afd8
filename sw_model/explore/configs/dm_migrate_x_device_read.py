"""A page moves to the device while a fault of the device reads it; only accesses are judged."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.dmirror_world import DmirrorWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = DmirrorWorld(sched, pages=1, accesses_only=True)
    return w.spawn(migrate=w.migrate(), read=w.device_read())


CONFIG = Config(
    "dm_migrate_x_device_read",
    "A page moves to the device while a fault of the device reads it; only accesses are judged.",
    "dmirror",
    build,
    exhaustive=False,
)
