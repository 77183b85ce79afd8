"""F13: the error path drops the reference and leaves range->hmm set."""

from __future__ import annotations

from typing import Any

from sw_model import hmm_mirror as hm
from sw_model.explore.config import Mutant

fixed = hm.hmm_vma_fault
end = hm._range_end


async def fault(mirror: Any, rng: Any, block: bool = True) -> int:
    """The driver takes a range with an hmm for an active one."""
    ret = await fixed(mirror, rng, block)
    if ret:
        rng.hmm = mirror.hmm
    return ret


async def range_end(hmm: Any, rng: Any) -> bool:
    """list_del_init() of what is on no list, and the put."""
    if rng in hmm.ranges:
        return await end(hmm, rng)
    await hm.hmm_put(hmm)
    return False


MUTANT = Mutant(
    "f13",
    "a range whose fault failed drops its reference twice: the hmm is freed under its mirror",
    "'Use mm_get_hmm() in hmm_range_register()'",
    "mirror_operations",
    "KernelBug",
    [(hm, "hmm_vma_fault", fault), (hm, "_range_end", range_end)],
    entries=("F13",),
    shows="hmm freed with",
)
