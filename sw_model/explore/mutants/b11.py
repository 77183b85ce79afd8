"""B11: two threads unregister one mirror."""

from __future__ import annotations

from typing import Any

from sw_model import hmm_mirror as hm
from sw_model.explore.config import Mutant
from sw_model.sched import point


async def racy(mirror: Any) -> None:
    """READ_ONCE(mirror->hmm) does not let only one through."""
    await point("mirror", mirror)
    hmm = mirror.hmm
    if hmm is None:
        return
    async with hmm.mirrors_sem.write():
        if mirror in hmm.mirrors:
            hmm.mirrors.remove(mirror)
        mirror.hmm = None
    await hm.hmm_put(hmm)


MUTANT = Mutant(
    "b11",
    "hmm_mirror_unregister() twice drops two references",
    "seed patch; F9",
    "unregister_x_unregister",
    "KernelBug",
    [(hm, "hmm_mirror_unregister", racy)],
)
