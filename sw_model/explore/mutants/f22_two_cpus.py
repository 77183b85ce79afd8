"""F22: the fault on a device-private entry takes no reference under the page table lock."""

from __future__ import annotations

from typing import Any

from sw_model import fault
from sw_model.explore.config import Mutant


async def unlocked(mm: Any, vma: Any, addr: int, i: int, e: int) -> int:
    """The page of the entry that was read before is taken, whether or not it is still there."""
    phys, pfn = mm.phys, e >> 12
    await phys.lock_page(pfn)
    phys.get_page(pfn)
    ret = await phys.pgmap(pfn).migrate_to_ram(vma, addr, pfn)
    phys.unlock_page(pfn)
    phys.put_page(pfn)
    return ret


MUTANT = Mutant(
    "f22_two_cpus",
    "the second CPU takes a page that the first one has brought back and freed",
    "16ce101db85d",
    "interval_two_cpus_private",
    "Assertion",
    [(fault, "_device_private", unlocked)],
    entries=("F22",),
    shows="free pfn",
)
