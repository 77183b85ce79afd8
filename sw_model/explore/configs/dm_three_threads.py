"""Device memory: three threads of one operation each."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.dmirror_world import EVERYTHING, DmirrorWorld, OnePage
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = DmirrorWorld(sched, pages=3)
    return w.spawn(**{f"thread{i}": OnePage(w, EVERYTHING, 2, i).run() for i in range(3)})


CONFIG = Config(
    "dm_three_threads",
    "Three threads of up to 2 operations each, on 3 pages.",
    "dmirror",
    build,
    exhaustive=False,
)
