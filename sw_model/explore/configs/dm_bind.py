"""Up to 4 operations: holes come and go, the device binds the range."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.devmem_drivers import BindScript, NouveauWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = NouveauWorld(sched, pages=3)
    return w.spawn(operations=BindScript(w, ("bind", "hole"), 4).run())


CONFIG = Config(
    "dm_bind",
    "Up to 4 operations: holes come and go, the device binds the range.",
    "dmirror",
    build,
    exhaustive=False,
)
