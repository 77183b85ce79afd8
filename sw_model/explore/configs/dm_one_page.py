"""Exclusive access, migration, MADV_DONTNEED, fork and a device fault, all at once on one page."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.dmirror_world import DmirrorWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = DmirrorWorld(sched, pages=1)
    return w.spawn(
        exclusive=w.exclusive(),
        migrate=w.migrate(),
        dontneed=w.dontneed(),
        fork=w.fork(),
        read=w.device_read(),
    )


CONFIG = Config(
    "dm_one_page",
    "Exclusive access, migration, MADV_DONTNEED, fork and a device fault, all at once on one page.",
    "dmirror",
    build,
    exhaustive=False,
)
