"""Two devices, each of which pulls the same page into its own memory."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.devmem_drivers import TwoDevices
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = TwoDevices(sched)
    for i in range(2):
        sched.spawn(w.pull(i), f"device{i}")
    return w.check


CONFIG = Config(
    "dm_two_devices",
    "Two devices, each of which pulls the same page into its own memory.",
    "dmirror",
    build,
    exhaustive=False,
)
