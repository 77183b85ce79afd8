"""A generated batch of faults, one a page: read, write or atomic; page 1 is read-only."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.devmem_drivers import NouveauWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = NouveauWorld(sched)
    return w.spawn(batch=w.batch())


CONFIG = Config(
    "dm_fault_batch",
    "A generated batch of faults, one a page: read, write or atomic; page 1 is read-only.",
    "dmirror",
    build,
    exhaustive=False,
)
