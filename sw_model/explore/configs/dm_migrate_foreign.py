"""Device memory: the device writes what moved to it while a neighbour moves a page there too."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.dmirror_world import DmirrorWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = DmirrorWorld(sched, pages=1, neighbour=1, accesses_only=True)

    async def device() -> None:
        await w.migrate()
        await w.device_write()

    return w.spawn(device=device(), dontneed=w.dontneed(), neighbour=w.neighbour_migrates())


CONFIG = Config(
    "dm_migrate_foreign",
    "As dm_migrate_x_dontneed, but the device writes too, and only its accesses are judged.",
    "dmirror",
    build,
    exhaustive=False,
)
