"""The device mirrors a part of a 2-MiB page, of which another part is thrown away."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.devmem_drivers import FolioWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = FolioWorld(sched)
    return w.spawn(read=w.read(), zap=w.zap())


CONFIG = Config(
    "dm_part_of_a_folio",
    "The device mirrors a part of a 2-MiB page, of which another part is thrown away.",
    "dmirror",
    build,
    exhaustive=False,
)
