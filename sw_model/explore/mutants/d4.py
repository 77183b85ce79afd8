"""D4: every invalidation that finds the child empty queues its destruction."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.driver_world import Child


def claim(self: Any) -> bool:
    """No xa_cmpxchg()."""
    return True


MUTANT = Mutant(
    "d4",
    "the child is destroyed twice",
    "mlx5 d3d930411ce3 (CVE-2025-21714)",
    "drv_child_x_two_reclaims",
    "UseAfterFree",
    [(Child, "claim", claim)],
    entries=("D4",),
)
