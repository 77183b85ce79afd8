"""A mirror registers while the last other one goes."""

from __future__ import annotations

from collections.abc import Callable

from sw_model import hmm_mirror as hm
from sw_model.explore.config import Config
from sw_model.explore.world import MirrorWorld, now
from sw_model.locking import warn_on
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = MirrorWorld(sched, mirrors=2, register=False)
    first, second = w.mirrors
    assert now(first.register(w.mm)) == 0

    async def register() -> None:
        warn_on(await second.register(w.mm), "hmm_mirror_register failed")

    w.spawn(register=register(), unregister=hm.hmm_mirror_unregister(first))

    def check() -> None:
        assert w.mm.hmm is not None and w.mm.hmm.mirrors == [second]

    return check


CONFIG = Config("register_x_unregister", "A mirror registers while the last other one goes.", "mirror", build)
