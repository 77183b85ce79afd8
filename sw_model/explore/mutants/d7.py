"""D7: the pfns are not written again before the next attempt."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.devmem_drivers import NouveauMirror


def request(self: Any, rng: Any, flags: int) -> None:
    """They still hold what the last attempt left."""


MUTANT = Mutant(
    "d7",
    "outputs of the first attempt are requests of the second: a legal read becomes a write, -EPERM",
    "nouveau 20200701225352.9649-2-rcampbell@nvidia.com",
    "dm_read_x_protect",
    "Assertion",
    [(NouveauMirror, "request", request)],
    entries=("D7",),
    shows="device read: -1",
)
