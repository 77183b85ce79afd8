"""C1: a refused start leaves the interval side active."""

from __future__ import annotations

from typing import Any

from sw_model import mmu_notifier as mn
from sw_model.explore.config import Mutant

hlist_start = mn._hlist_start
itree_end = mn._itree_end
leaked: list[Any] = []


async def start(subs: Any, range_: Any) -> int:
    """Remember the failure, so that the end that follows is left out."""
    ret = await hlist_start(subs, range_)
    leaked[:] = [subs] if ret else []
    return ret


async def end(subs: Any) -> None:
    """Left out once after a failed start."""
    if leaked and leaked[0] is subs:
        leaked.clear()
        return
    await itree_end(subs)


MUTANT = Mutant(
    "c1",
    "active_invalidate_ranges leaks; a later read section waits for ever",
    "Linux 6.1.192, confirmed: mm/mmu_notifier.c:__mmu_notifier_invalidate_range_start",
    "nonblock_x_fault",
    "Deadlock",
    [(mn, "_hlist_start", start), (mn, "_itree_end", end)],
    entries=("C1",),
)
