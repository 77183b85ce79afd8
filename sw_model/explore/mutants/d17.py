"""D17: the device's pages are not evicted when the file is closed."""

from __future__ import annotations

from typing import Any

from sw_model.dmirror import DmirrorDevice
from sw_model.explore.config import Mutant


async def nothing(self: Any) -> None:
    """The pages stay."""


MUTANT = Mutant(
    "d17",
    "a CPU fault on such a page finds the mirror that is gone in zone_device_data",
    "lib/test_hmm.c 744dd97752ef",
    "dm_reopen",
    "UseAfterFree",
    [(DmirrorDevice, "evict", nothing)],
    entries=("D17",),
)
