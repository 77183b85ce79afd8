"""The device is closed while the CPU takes pages back from it."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.dmirror_world import BASE, PAGE, DmirrorWorld
from sw_model.explore.world import now
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = DmirrorWorld(sched)
    now(w.migrate(0, 2))

    async def cpu() -> None:
        for page in range(2):
            assert await w.mm.load(BASE + page * PAGE, 1) == bytes([page + 1]), "the data are lost"

    return w.spawn(close=w.fd.close(), cpu=cpu())


CONFIG = Config(
    "dm_close_x_fault",
    "The device is closed while the CPU takes pages back from it.",
    "dmirror",
    build,
    exhaustive=False,
)
