"""D3: the key is freed outside the lock that invalidations take."""

from __future__ import annotations

from typing import Any

from sw_model.explore.config import Mutant
from sw_model.explore.driver_world import Region


async def revoke_key(self: Any) -> None:
    """mlx5_revoke_mr() without umem_mutex."""
    await self.command("revoke")


MUTANT = Mutant(
    "d3",
    "an invalidation names a key that the device has freed: its queue stops and nothing completes",
    "mlx5 abb604a1a9c8 (CVE-2025-21732), cc668a11e6ac",
    "drv_destroy_x_reclaim",
    "Deadlock",
    [(Region, "revoke_key", revoke_key)],
    entries=("D3",),
)
