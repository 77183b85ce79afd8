"""Up to 5 operations, among them close() and open() of the device."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.devmem_drivers import ReopenScript
from sw_model.explore.dmirror_world import DmirrorWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = DmirrorWorld(sched)
    kinds = ("migrate", "reopen", "fork", "cpu_read", "cpu_write", "device_write")
    return w.spawn(operations=ReopenScript(w, kinds, 5).run())


CONFIG = Config(
    "dm_reopen",
    "Up to 5 operations, among them close() and open() of the device.",
    "dmirror",
    build,
    exhaustive=False,
)
