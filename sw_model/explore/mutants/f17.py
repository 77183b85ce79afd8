"""F17: the last mmu_notifier_put() frees at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from sw_model.explore.config import Mutant
from sw_model.locking import Srcu


async def call(self: Any, callback: Callable[[], Awaitable[None]]) -> None:
    """No grace period."""
    await callback()


MUTANT = Mutant(
    "f17",
    "a walker stands on the notifier that is freed, as with a plain reference count",
    "mmu_notifier_get() and _put(), Linux 5.4: freed by call_srcu()",
    "put_x_invalidate",
    "UseAfterFree",
    [(Srcu, "call", call)],
    entries=("F17",),
)
