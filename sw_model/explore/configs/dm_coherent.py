"""Two threads of up to 3 operations each, as dm_two_threads, with coherent device memory."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.dmirror_world import EVERYTHING, CoherentWorld, OnePage
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = CoherentWorld(sched)
    return w.spawn(**{f"thread{i}": OnePage(w, EVERYTHING, 3, i).run() for i in range(2)})


CONFIG = Config(
    "dm_coherent",
    "Two threads of up to 3 operations each, as dm_two_threads, with coherent device memory.",
    "dmirror",
    build,
    exhaustive=False,
)
