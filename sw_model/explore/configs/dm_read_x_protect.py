"""A device read, requested page by page, against mprotect(PROT_READ)."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.devmem_drivers import NouveauWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = NouveauWorld(sched, pages=1)
    return w.spawn(read=w.device_read(), protect=w.protect())


CONFIG = Config(
    "dm_read_x_protect",
    "A device read, requested page by page, against mprotect(PROT_READ).",
    "dmirror",
    build,
    exhaustive=False,
)
