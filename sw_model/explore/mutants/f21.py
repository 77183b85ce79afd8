"""F21: a failed start leaves the notifiers that had started without their end."""

from __future__ import annotations

from typing import Any

from sw_model import mmu_notifier as mn
from sw_model.explore.config import Mutant
from sw_model.sched import point


async def start(subs: Any, range_: Any) -> int:
    """No unwinding."""
    ret = 0
    token = await subs.srcu.read_lock()
    node = subs.first
    while node is not None:
        if node.ops.invalidate_range_start is not None:
            ret = await node.ops.invalidate_range_start(node, range_) or ret
        await point("hlist", node)
        node = node.next
    subs.srcu.read_unlock(token)
    return ret


MUTANT = Mutant(
    "f21",
    "start and end are not paired when another notifier refuses",
    "c2655835fd8c",
    "nonblock_x_fault",
    "Assertion",
    [(mn, "_hlist_start", start)],
    entries=("F21",),
)
