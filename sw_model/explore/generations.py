"""The same scenarios over every version of the mirror API, and the table of the bugs that are open in each.

`python -m sw_model.explore.generations` prints the table of docs/generations.md. Every cell is run: `open` is
a configuration of that version that fails and shows the bug, `fixed` is the same scenario without it.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from sw_model.explore import operations
from sw_model.explore.config import Config, Mutant, mutants
from sw_model.explore.runner import search
from sw_model.explore.world import BASE, PAGE, MirrorDriver, MirrorWorld, ToyMm, ToyPte, now
from sw_model.locking import is_freed, warn_on
from sw_model.mirror_api import MIRROR, MirrorApi
from sw_model.mmu_notifier import (
    MmuNotifierRange,
    MmuNotifyEvent,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from sw_model.sched import Scheduler, WaitQueue

Check = Callable[[], None]


# ---- scenarios ---------------------------------------------------------------------------------------------


async def _register(w: MirrorWorld, m: MirrorDriver, lock: bool = True) -> None:
    ret = await m.register(w.mm, lock)
    warn_on(ret, f"hmm_mirror_register gave {ret}")


def unregister_x_exit(sched: Scheduler, api: MirrorApi) -> Check:
    """The last mirror goes, and is freed, while the process exits."""
    w = MirrorWorld(sched, api=api)
    w.spawn(unregister=w.mirrors[0].unregister(), exit=w.mm.mmput())
    return lambda: None


def unregister_x_invalidate(sched: Scheduler, api: MirrorApi) -> Check:
    """The last mirror goes, and is freed, while the page is reclaimed."""
    w = MirrorWorld(sched, pins=1, api=api)
    w.spawn(unregister=w.mirrors[0].unregister(), reclaim=w.mm.user_reclaim())
    return lambda: None


def unregister_x_unregister(sched: Scheduler, api: MirrorApi) -> Check:
    """Two threads unregister one mirror."""
    w = MirrorWorld(sched, api=api)
    m = w.mirrors[0]
    w.spawn(first=m.unregister(free=False), second=m.unregister(free=False))

    def check() -> None:
        assert w.mm.hmm is None and w.mm.mm_count == 1

    return check


def register_x_register(sched: Scheduler, api: MirrorApi) -> Check:
    """Two mirrors register with a process that had none."""
    w = MirrorWorld(sched, mirrors=2, register=False, api=api)
    w.spawn(**{f"register{i}": _register(w, m) for i, m in enumerate(w.mirrors)})

    def check() -> None:
        assert w.mm.hmm is not None and len(w.mm.hmm.mirrors) == 2 and w.mm.hmm.kref.read() == 2

    return check


def register_x_unregister(sched: Scheduler, api: MirrorApi) -> Check:
    """A mirror registers while the last other one goes."""
    w = MirrorWorld(sched, mirrors=2, register=False, api=api)
    first, second = w.mirrors
    assert now(first.register(w.mm)) == 0
    w.spawn(register=_register(w, second), unregister=api.unregister(first))

    def check() -> None:
        assert w.mm.hmm is not None and w.mm.hmm.mirrors == [second]

    return check


def register_x_killed(sched: Scheduler, api: MirrorApi) -> Check:
    """A mirror registers while the first creator of the hmm is killed and gets no notifier.

    Where nothing notices, the second one does without mmap_lock, which is against the comment.
    """
    w = MirrorWorld(sched, mirrors=2, register=False, api=api)
    first, second = w.mirrors

    async def killed() -> None:
        warn_on(await first.register(w.mm) not in (0, -errno.ENOMEM), "wrong error")

    sched.spawn(killed(), "killed").killed = True
    w.spawn(register=_register(w, second, lock=api.checks_lock))
    return lambda: None


def register_fault_x_register_x_reclaim(sched: Scheduler, api: MirrorApi) -> Check:
    """Two mirrors register, one faults at once, the page is reclaimed."""
    w = MirrorWorld(sched, mirrors=2, register=False, api=api)
    first, second = w.mirrors

    async def use() -> None:
        if await first.register(w.mm) == 0:
            await first.fault(w.mm)

    w.spawn(use=use(), register=second.register(w.mm), reclaim=w.mm.reclaim())
    return first.dev.check


def unregister_x_register_x_reclaim(sched: Scheduler, api: MirrorApi) -> Check:
    """The only mirror goes, another registers and waits for a quiet moment, the page is reclaimed."""
    w = MirrorWorld(sched, mirrors=2, register=False, api=api)
    first, second = w.mirrors
    assert now(first.register(w.mm)) == 0

    async def use() -> None:
        await _register(w, second)
        await api.wait_idle(second)

    w.spawn(unregister=api.unregister(first), use=use(), reclaim=w.mm.reclaim())
    return lambda: None


def fault_x_invalidate(sched: Scheduler, api: MirrorApi) -> Check:
    """One fault against one reclaim, mirror API."""
    w = MirrorWorld(sched, api=api)
    m = w.mirrors[0]
    w.spawn(fault=m.fault(w.mm), reclaim=w.mm.reclaim())
    return m.dev.check


def fault_x_unregister(sched: Scheduler, api: MirrorApi) -> Check:
    """One fault against the unregistration of its mirror."""
    w = MirrorWorld(sched, api=api)
    m = w.mirrors[0]
    w.spawn(fault=m.fault(w.mm), unregister=m.unregister(free=False))
    return lambda: None


def fault_x_release(sched: Scheduler, api: MirrorApi) -> Check:
    """One fault against the release of a mirror by the exit of its process."""
    w = MirrorWorld(sched, api=api)
    m = w.mirrors[0]
    w.spawn(fault=m.fault(w.mm), exit=w.mm.mmput())
    return m.dev.check


def range_x_exit(sched: Scheduler, api: MirrorApi) -> Check:
    """One fault, whose driver holds the mm_struct but is no user of it, against the exit of the process."""
    w = MirrorWorld(sched, pins=1, api=api)
    m = w.mirrors[0]
    w.spawn(fault=m.service(w.mm), exit=w.mm.mmput())
    return m.dev.check


class WatchedMm(ToyMm):
    """Tells when the page walk has read the entry for the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.walked = False
        self.walked_wq = WaitQueue("walked")

    def pte(self, addr: int) -> ToyPte:
        """The entry, decoded."""
        self.walked = True
        self.walked_wq.wake_all()
        return super().pte(addr)

    async def reclaim_when_walked(self) -> None:
        """reclaim() that begins inside a read section."""
        await self.walked_wq.wait(lambda: self.walked)
        await self.reclaim()


def fault_x_late_invalidate(sched: Scheduler, api: MirrorApi) -> Check:
    """One fault against a reclaim that begins when the entry has been read; "usage 2" where it is allowed."""
    mm = WatchedMm()
    w = MirrorWorld(sched, api=api, mm=mm)
    m = w.mirrors[0]
    w.spawn(fault=m.service(mm, trust=api.usage2), reclaim=mm.reclaim_when_walked())
    return m.dev.check


def drop_x_invalidate(sched: Scheduler, api: MirrorApi) -> Check:
    """A pin of the mm_struct is dropped during a reclaim; then the mirror goes, and with it the hmm."""
    w = MirrorWorld(sched, pins=1, api=api)
    hmm = w.mm.hmm
    threads = [sched.spawn(c, n) for n, c in (("drop", w.mm.mmdrop()), ("reclaim", w.mm.reclaim()))]

    async def last() -> None:
        for t in threads:
            await t.join()
        await api.unregister(w.mirrors[0])

    def check() -> None:
        assert is_freed(hmm), "struct hmm leaks"

    w.spawn(unregister=last())
    return check


def nonblock_x_fault(sched: Scheduler, api: MirrorApi) -> Check:
    """The page, which the device has, is reaped without blocking, against a registration and a fault."""
    w = MirrorWorld(sched, mirrors=2, register=False, api=api)
    first, second = w.mirrors
    mm = w.mm
    assert now(first.register(mm)) == 0

    async def reap() -> None:
        r = MmuNotifierRange(mm, BASE, BASE + PAGE, MmuNotifyEvent.CLEAR, blockable=False)
        if await mmu_notifier_invalidate_range_start(r) == 0:
            async with mm.page_table_lock:
                mm.set_page(0)
            await mmu_notifier_invalidate_range_end(r)

    async def use() -> None:
        await _register(w, second)
        await first.fault(mm)

    first.granted = first.dev.write = True
    first.dev.tlb = mm.page.pfn
    w.spawn(reap=reap(), use=use())
    return first.dev.check


@dataclass(frozen=True)
class Scenario:
    """A scenario. Over hmm_mirror its configuration is called `mirror`, over the old ones v1_, v3_`name`."""

    build: Callable[[Scheduler, MirrorApi], Check]
    mirror: str
    about: str = ""
    exhaustive: bool = True

    @property
    def name(self) -> str:
        """Of the function."""
        return self.mirror.removeprefix("mirror_")


SCENARIOS = {
    s.name: s
    for s in (
        Scenario(unregister_x_exit, "unregister_x_exit"),
        Scenario(unregister_x_invalidate, "unregister_x_invalidate"),
        Scenario(unregister_x_unregister, "unregister_x_unregister"),
        Scenario(register_x_register, "register_x_register"),
        Scenario(register_x_unregister, "register_x_unregister"),
        Scenario(register_x_killed, "register_x_killed"),
        Scenario(register_fault_x_register_x_reclaim, "register_fault_x_register_x_reclaim"),
        Scenario(unregister_x_register_x_reclaim, "unregister_x_register_x_reclaim"),
        Scenario(fault_x_invalidate, "mirror_fault_x_invalidate"),
        Scenario(fault_x_unregister, "mirror_fault_x_unregister"),
        Scenario(fault_x_release, "fault_x_release"),
        Scenario(range_x_exit, "range_x_exit"),
        Scenario(fault_x_late_invalidate, "mirror_fault_x_late_invalidate", exhaustive=False),
        Scenario(drop_x_invalidate, "drop_x_invalidate"),
        Scenario(nonblock_x_fault, "mirror_nonblock_x_fault"),
        Scenario(
            operations.build,
            "mirror_operations",
            "A generated sequence of operations on one process and one device.",
            exhaustive=False,
        ),
    )
}


def config(name: str, api: MirrorApi, open_bug: str = "", long: bool = False) -> Config:
    """The configuration of a scenario over one version."""
    s = SCENARIOS[name]
    about = s.about or (s.build.__doc__ or "").partition("\n")[0]

    def build(sched: Scheduler) -> Check:
        return s.build(sched, api)

    full = s.mirror if api is MIRROR else f"{api.name}_{name}"
    stack = "mirror" if api is MIRROR else f"mirror {api.name}"
    return Config(full, about, stack, build, s.exhaustive, long=long, open_bug=open_bug)


# ---- the table ---------------------------------------------------------------------------------------------

OLD = ("v1", "v3")
OPEN, FIXED, NOT_THERE = "open", "fixed", "n/a"
#: schedules of each strategy without the bug that a cell `fixed` stands for
SCHEDULES = 300
#: configurations of the interval notifiers in which a bug would show too
INTERVAL = {
    "b5": "remove_x_invalidate",
    "b13": "fault_x_invalidate",
    "b20": "remove_x_invalidate",
    "f14": "fault_x_invalidate",
}


def number(mutant: Mutant) -> tuple[str, int, str]:
    """The first of its entries, to sort by; those without one last."""
    entry = mutant.entries[0] if mutant.entries else "Z0"
    return entry[0], int(entry[1:]), mutant.name


def rows() -> list[Mutant]:
    """The mutants of the table: those whose configuration is a scenario of this module."""
    ours = {f"{v}_{n}" for v in OLD for n in SCENARIOS} | {s.mirror for s in SCENARIOS.values()}
    return sorted((m for m in mutants().values() if m.config in ours), key=number)


@cache
def clean(name: str, mutant: str = "") -> None:
    """Raises AssertionError when a schedule of a configuration, with a mutant on, fails at all."""
    with mutants()[mutant].on() if mutant else contextlib.nullcontext():
        for strategy in ("random", "pct"):
            r = search(name, strategy, budget=SCHEDULES, twice=False)
            assert r.failure is None, f"{r.line}: {r.failure.text}"


def shows(name: str, mutant: Mutant) -> str:
    """OPEN when a schedule of a configuration fails with what the mutant shows, else FIXED."""
    other = "pct" if mutant.strategy == "random" else "random"
    for strategy in (mutant.strategy, other):
        if search(name, strategy, mutant=mutant.name, budget=SCHEDULES, twice=False).failure is not None:
            return OPEN
    return FIXED


def cells(mutant: Mutant) -> list[str]:
    """What v1, v3, mirror and interval are to one bug. AssertionError when a fixed one is not clean."""
    version, _, name = mutant.config.partition("_")
    if version in OLD:
        old = [shows(f"{v}_{name}", mutant) for v in OLD]
        clean(SCENARIOS[name].mirror, mutant.name if mutant.patches else "")
    else:
        # Came in with a later fix: what the old versions do not have cannot be wrong in them.
        old = [NOT_THERE] * len(OLD)
        clean(mutant.config)
    interval = INTERVAL.get(mutant.name)
    if interval is not None:
        clean(interval)
    return [*old, FIXED, FIXED if interval else NOT_THERE]


def table() -> str:
    """The table of docs/generations.md."""
    out = ["| bug | mutant | what happens | v1 | v3 | mirror | interval |", "|---|---|---|---|---|---|---|"]
    for m in rows():
        out.append(f"| {', '.join(m.entries) or '-'} | {m.name} | {m.about} | {' | '.join(cells(m))} |")
    return "\n".join(out)


if __name__ == "__main__":
    print(table())
