"""B8: registration fails when it meets a dying struct hmm."""

from __future__ import annotations

from typing import Any

from sw_model import hmm_mirror as hm
from sw_model.explore.config import Mutant

mirror_register = hm.hmm_mirror_register


async def register(mirror: Any, mm: Any) -> int:
    """mm->hmm is set although hmm_get() failed: -ENOMEM."""
    hmm = await hm.mm_get_hmm(mm)
    if hmm is None and mm.hmm is not None:
        return -12
    if hmm is not None:
        await hm.hmm_put(hmm)
    return await mirror_register(mirror, mm)


MUTANT = Mutant(
    "b8",
    "hmm_mirror_register() fails with -ENOMEM while the last other mirror goes",
    "seed patch; F4",
    "register_x_unregister",
    "KernelBug",
    [(hm, "hmm_mirror_register", register)],
)
