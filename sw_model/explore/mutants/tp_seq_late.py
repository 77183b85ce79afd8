"""Two passes: the sequence is set in the second one."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.interval_world import Flush, TwoPassDriver, TwoPassOps
from sw_model.mmu_notifier import MmuNotifierRange, mmu_interval_set_seq

wait_flush = TwoPassDriver.wait_flush


async def start(self: Any, sub: Any, range_: MmuNotifierRange, cur_seq: int) -> Any:
    """The first pass only starts the flush."""
    flush = await sub.start_flush(lambda: None) or Flush([], None)
    flush.cur_seq = cur_seq
    return True, flush


async def finish(self: Any, flush: Any) -> None:
    """The second one ends the sections."""
    await wait_flush(self, flush)
    await self.lock.lock()
    mmu_interval_set_seq(self, flush.cur_seq)
    self.lock.unlock()


MUTANT = Mutant(
    "tp_seq_late",
    "a fault that walked before posts its fill behind the flush",
    "reading of 7aba71dbc416 and its users",
    "tp_fault_x_invalidate",
    "Stale",
    [(TwoPassOps, "invalidate_start", start), (TwoPassDriver, "wait_flush", finish)],
)
