"""Two mirrors register with a process that had none."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.world import MirrorDriver, MirrorWorld
from sw_model.locking import warn_on
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = MirrorWorld(sched, mirrors=2, register=False)

    async def register(m: MirrorDriver) -> None:
        warn_on(await m.register(w.mm), "hmm_mirror_register failed")

    w.spawn(**{f"register{i}": register(m) for i, m in enumerate(w.mirrors)})

    def check() -> None:
        assert w.mm.hmm is not None and len(w.mm.hmm.mirrors) == 2 and w.mm.hmm.kref.read() == 2

    return check


CONFIG = Config("register_x_register", "Two mirrors register with a process that had none.", "mirror", build)
