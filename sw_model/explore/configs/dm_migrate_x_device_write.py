"""A page moves to the device while the device writes it; the CPU reads what was written."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.dmirror_world import BASE, PAGE, DmirrorWorld
from sw_model.explore.world import now
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = DmirrorWorld(sched, pages=1, accesses_only=True)
    now(w.device_read())

    async def write() -> None:
        await w.device_write(value=9)
        data = await w.mm.load(BASE, PAGE)
        assert data == bytes([9]) * PAGE, f"the CPU reads {data[:2].hex()}, the device has written 0909"

    return w.spawn(migrate=w.migrate(), write=write())


CONFIG = Config(
    "dm_migrate_x_device_write",
    "A page moves to the device while the device writes it; the CPU reads what was written.",
    "dmirror",
    build,
    exhaustive=False,
)
