"""Two threads unregister one mirror."""

from __future__ import annotations

from collections.abc import Callable

from sw_model.explore.config import Config
from sw_model.explore.world import MirrorWorld
from sw_model.sched import Scheduler


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    w = MirrorWorld(sched)
    m = w.mirrors[0]
    w.spawn(first=m.unregister(free=False), second=m.unregister(free=False))

    def check() -> None:
        assert w.mm.hmm is None and w.mm.mm_count == 1

    return check


CONFIG = Config("unregister_x_unregister", "Two threads unregister one mirror.", "mirror", build)
