"""D2: the notifier is live before the region is set up."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.driver_world import Region


async def create(self: Any) -> None:
    """The notifier first."""
    await self.go_live()
    await self.set_up()


MUTANT = Mutant(
    "d2",
    "an invalidation during creation finds a region without its key",
    "mlx5: Do not race with mlx5_ib_invalidate_range during create and destroy",
    "drv_create_x_reclaim",
    "Oops",
    [(Region, "create", create)],
    entries=("D2",),
)
