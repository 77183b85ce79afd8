"""B12: hmm_release() calls the mirror without mirrors_sem."""

from __future__ import annotations

from typing import Any

from sw_model import hmm_mirror as hm
from sw_model.explore.config import Mutant


async def release(self: Any, sub: Any, mm: Any) -> None:
    """Pop each mirror, drop the lock, call it."""
    hmm = sub.hmm
    if not await hm.hmm_get(hmm):
        return
    await hmm.mirrors_sem.down_write()
    while hmm.mirrors:
        mirror = hmm.mirrors.pop()
        hmm.mirrors_sem.up_write()
        await mirror.ops.release(mirror)
        await hmm.mirrors_sem.down_write()
    hmm.mirrors_sem.up_write()
    await hm.hmm_put(hmm)


async def unregister(mirror: Any) -> None:
    """list_del_init(): harmless for a mirror that release has taken off."""
    hmm, mirror.hmm = mirror.hmm, None
    if hmm is None:
        return
    async with hmm.mirrors_sem.write():
        if mirror in hmm.mirrors:
            hmm.mirrors.remove(mirror)
    await hm.hmm_put(hmm)


MUTANT = Mutant(
    "b12",
    "hmm_release() tells a mirror that has been unregistered and freed",
    "seed patch; F11",
    "unregister_x_exit",
    "UseAfterFree",
    [(hm._HmmNotifierOps, "release", release), (hm, "hmm_mirror_unregister", unregister)],
)
