"""D14: the order of the CPU's mapping is taken for what the range covers."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.devmem_drivers import RangeMirror


def clip(self: Any, pages: range) -> range:
    """All of the folio."""
    return pages


MUTANT = Mutant(
    "d14",
    "the device maps pages outside its notifier's range: nobody tells it when they go",
    "drm/gpusvm c50729c68aaf",
    "dm_part_of_a_folio",
    "Stale",
    [(RangeMirror, "clip", clip)],
    entries=("D14",),
)
