"""Two threads of up to 3 operations each, each with a device of its own."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.dmirror_world import EVERYTHING, OnePage, OtherDevice, TwoDeviceWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = TwoDeviceWorld(sched)
    return w.spawn(first=OnePage(w, EVERYTHING, 3, 0).run(), second=OtherDevice(w, EVERYTHING, 3, 1).run())


CONFIG = Config(
    "dm_two_devices_threads",
    "Two threads of up to 3 operations each, each with a device of its own.",
    "dmirror",
    build,
    exhaustive=False,
)
