"""Two CPUs touch the same device-private page: each wants it back."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.dmirror_world import BASE, DmirrorWorld
from sw_model.explore.world import now
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = DmirrorWorld(sched, pages=1)
    now(w.migrate())

    async def cpu() -> None:
        assert await w.mm.load(BASE, 1) == b"\1", "the data are lost"

    return w.spawn(cpu0=cpu(), cpu1=cpu())


CONFIG = Config(
    "interval_two_cpus_private",
    "Two CPUs touch the same device-private page: each wants it back.",
    "dmirror",
    build,
    exhaustive=False,
)
