"""B3: hmm_release() does not expect that the last reference is gone."""

from __future__ import annotations

from typing import Any

from sw_model import hmm_mirror as hm
from sw_model.explore.config import Mutant


async def release(self: Any, sub: Any, mm: Any) -> None:
    """hmm_get(mm) may give NULL."""
    hmm: Any = await hm.mm_get_hmm(mm)
    await hmm.mirrors_sem.down_read()
    for mirror in list(hmm.mirrors):
        await mirror.ops.release(mirror)
    hmm.mirrors_sem.up_read()
    await hm.hmm_put(hmm)


MUTANT = Mutant(
    "b3",
    "NULL dereference in hmm_release: the last hmm_put() ran, the notifier is still linked",
    "seed patch; F1",
    "unregister_x_exit",
    "Oops",
    [(hm._HmmNotifierOps, "release", release)],
)
