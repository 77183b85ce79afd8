"""D9: detach does not flush the fault worker before it frees what the worker caches."""

from __future__ import annotations

from typing import Any

from sw_model.driver import SvmDriver
from sw_model.explore.config import Mutant


async def nothing(self: Any) -> None:
    """No flush_work()."""


MUTANT = Mutant(
    "d9",
    "a fault that is being serviced uses the notifier of a process that is gone",
    "nouveau nouveau_svmm_fini (flush_work)",
    "full_fault_x_unregister",
    "Oops",
    [(SvmDriver, "flush_faults", nothing)],
    entries=("D9",),
)
