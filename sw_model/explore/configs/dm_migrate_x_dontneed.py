"""Device memory: migration to the device against MADV_DONTNEED of the page."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.dmirror_world import DmirrorWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = DmirrorWorld(sched, pages=1, neighbour=1)
    return w.spawn(migrate=w.migrate(), dontneed=w.dontneed(), neighbour=w.neighbour_migrates())


CONFIG = Config(
    "dm_migrate_x_dontneed",
    "A page moves to the device while the process throws it away; a neighbour moves a page there too.",
    "dmirror",
    build,
    exhaustive=False,
)
