"""The explorer: strategies, replay, shrinking, determinism, and that reduction loses nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sw_model.explore import config as cfg
from sw_model.explore import dpor, runner
from sw_model.explore.__main__ import main
from sw_model.explore.config import Config, configs, mutants
from sw_model.explore.runner import Nondeterminism, execute, replay, same, search
from sw_model.explore.shrink import shrink
from sw_model.explore.strategies import Choices, Preempt, Random, pieces_of
from sw_model.explore.timeline import render
from sw_model.explore.world import TRACKED, World
from sw_model.locking import Mutex, RwSem
from sw_model.sched import Scheduler, WaitQueue, point

CLEAN = [c for c in configs().values() if not c.open_bug]
FULL = [c.name for c in CLEAN if not c.exhaustive]
SMALL = [c.name for c in CLEAN if c.exhaustive]
DOC = Path(__file__).parent.parent / "docs" / "explore.md"


class Cell:
    """A shared variable."""

    def __init__(self) -> None:
        self.value = 0


def toy(monkeypatch: pytest.MonkeyPatch, build: Callable[[Scheduler], Callable[[], None]]) -> str:
    """A configuration of this test; its name."""
    c = Config("toy", "of a test", "toy", build)
    monkeypatch.setattr(runner, "configs", lambda: {"toy": c})
    monkeypatch.setattr("sw_model.explore.shrink.configs", lambda: {"toy": c})
    monkeypatch.setattr(runner, "TRACKED", (*TRACKED, Cell))
    return "toy"


# ---- strategies ------------------------------------------------------------------------------------------


def steps_config(n: int, threads: int = 2) -> Callable[[Scheduler], Callable[[], None]]:
    def build(sched: Scheduler) -> Callable[[], None]:
        async def work() -> None:
            for _ in range(n - 1):
                await point("x")

        for i in range(threads):
            sched.spawn(work(), f"t{i}")
        return lambda: None

    return build


@pytest.mark.parametrize("n", [1, 3, 5])
def test_unbounded_search_runs_every_interleaving(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    name = toy(monkeypatch, steps_config(n))
    r = search(name, "preempt", bound=None, budget=10_000)
    assert r.complete and r.schedules == math.comb(2 * n, n)


def test_preemption_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    name = toy(monkeypatch, steps_config(4))
    counts = [search(name, "preempt", bound=b).schedules for b in range(8)]
    assert counts[0] == 2 and counts == sorted(counts) and counts[-1] == math.comb(8, 4)
    # One preemption: after 1 to 3 steps of either thread.
    assert counts[1] == 2 + 6


def test_independent_threads_are_one_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    name = toy(monkeypatch, steps_config(5, 3))
    r = search(name, "dpor")
    assert r.complete and r.schedules == 1


def lost_update(values: set[int], threads: int = 3) -> Callable[[Scheduler], Callable[[], None]]:
    def build(sched: Scheduler) -> Callable[[], None]:
        cell = Cell()

        async def add() -> None:
            await point("read", cell)
            v = cell.value
            await point("write", cell)
            cell.value = v + 1

        for i in range(threads):
            sched.spawn(add(), f"t{i}")
        return lambda: values.add(cell.value)

    return build


def test_dpor_reaches_every_result_in_fewer_schedules(monkeypatch: pytest.MonkeyPatch) -> None:
    every: set[int] = set()
    reduced: set[int] = set()
    full = search(toy(monkeypatch, lost_update(every)), "preempt", bound=None, budget=5000, twice=False)
    r = search(toy(monkeypatch, lost_update(reduced)), "dpor", budget=5000)
    assert full.complete and r.complete and every == reduced == {1, 2, 3}
    assert r.schedules < full.schedules / 2


@pytest.mark.parametrize("writers", [0, 1])
def test_readers_commute(writers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers of a rwsem are one class; with a writer there is one class for each place in between."""
    ends: set[tuple[int, ...]] = set()

    def build(sched: Scheduler) -> Callable[[], None]:
        sem, cell = RwSem("sem"), Cell()
        seen = [-1, -1]

        async def reader(i: int) -> None:
            async with sem.read():
                seen[i] = cell.value
                await point("inside")

        async def writer() -> None:
            async with sem.write():
                cell.value = 1

        for i in range(2):
            sched.spawn(reader(i), f"r{i}")
        for _ in range(writers):
            sched.spawn(writer(), "w")
        return lambda: ends.add(tuple(seen))

    r = search(toy(monkeypatch, build), "dpor", budget=2000)
    assert r.complete and r.failure is None
    assert r.schedules == 1 if not writers else ends == {(0, 0), (0, 1), (1, 0), (1, 1)}


def abba(sched: Scheduler) -> Callable[[], None]:
    a, b = Mutex("a"), Mutex("b")

    async def both(x: Mutex, y: Mutex) -> None:
        async with x, y:
            await point("inside")

    sched.spawn(both(a, b), "ab")
    sched.spawn(both(b, a), "ba")
    return lambda: None


def lost_wake_up(sched: Scheduler) -> Callable[[], None]:
    wq, cell = WaitQueue("wq"), Cell()

    async def sleeper() -> None:
        if not cell.value:
            await point("gap", cell)
            woken: list[int] = []
            await wq.wait(lambda: woken or woken.append(1))

    async def waker() -> None:
        await point("set", cell)
        cell.value = 1
        wq.wake_all()

    sched.spawn(sleeper(), "sleeper")
    sched.spawn(waker(), "waker")
    return lambda: None


@pytest.mark.parametrize(("build", "kind"), [(abba, "KernelBug"), (lost_wake_up, "Deadlock")])
@pytest.mark.parametrize("strategy", ["random", "pct", "preempt", "dpor"])
def test_inversions_and_lost_wake_ups(
    build: Any, kind: str, strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An inversion is reported before it can deadlock."""
    name = toy(monkeypatch, build)
    r = search(name, strategy, budget=300)
    assert r.failure is not None and r.failure.kind == kind
    out = replay(r.line)
    assert out.kind == kind and "sleep on" not in r.failure.text


END_STATES: dict[str, tuple[bool, bool, Callable[[World], dict[str, Any]]]] = {
    # granted at the start, whether a full search ends soon, threads
    "remove": (False, True, lambda w: {"remove": w.drv.remove(), "reclaim": w.mm.reclaim()}),
    "access": (True, False, lambda w: {"access": w.dev.access(), "reclaim": w.mm.reclaim()}),
    "fault": (False, False, lambda w: {"fault": w.dev.fault(), "reclaim": w.mm.reclaim()}),
    "fork": (False, False, lambda w: {"fault": w.dev.fault(), "fork": w.mm.fork()}),
    "migrate": (False, False, lambda w: {"fault": w.dev.fault(), "migrate": w.mm.migrate()}),
    "exit": (True, False, lambda w: {"fault": w.dev.fault(), "exit": w.mm.mmput()}),
}


@pytest.mark.parametrize("case", END_STATES)
def test_dpor_reaches_every_end_state_of_real_code(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the notifier code: the same end states as the full search, or as thousands of random runs."""
    granted, small, threads = END_STATES[case]
    seen: dict[str, set[Any]] = {"other": set(), "dpor": set()}

    def make(strategy: str) -> Callable[[Scheduler], Callable[[], None]]:
        def build(sched: Scheduler) -> Callable[[], None]:
            w = World(sched, granted=granted)
            w.spawn(**threads(w))

            def check() -> None:
                mm, dev, drv = w.mm, w.dev, w.drv
                state = (dev.tlb, dev.write, mm.page.pfn, mm.page.writable, mm.next_pfn, drv.granted)
                subs = mm.notifier_subscriptions
                seen[strategy].add((*state, subs.invalidate_seq, drv.invalidate_seq, drv.in_tree))

            return check

        return build

    if small:
        other = search(toy(monkeypatch, make("other")), "preempt", bound=None, budget=40_000, twice=False)
        assert other.complete
    else:
        other = search(toy(monkeypatch, make("other")), "random", budget=3000, twice=False)
    r = search(toy(monkeypatch, make("dpor")), "dpor", budget=5000, twice=False)
    assert r.complete and other.failure is None and r.failure is None
    assert seen["other"] <= seen["dpor"] if not small else seen["other"] == seen["dpor"]
    assert r.schedules < other.schedules


def test_tracking_leaves_no_trace() -> None:
    before = {c: dict(vars(c)) for c in TRACKED}
    search("remove_x_invalidate", "dpor", twice=False)
    assert {c: dict(vars(c)) for c in TRACKED} == before and dpor._active is None


# ---- replay, determinism, shrinking ------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["random", "pct", "preempt"])
@pytest.mark.parametrize("name", ["fault_x_invalidate", "mirror_fault_x_invalidate", "full_fault_x_exit"])
def test_every_run_twice(name: str, strategy: str) -> None:
    """search() repeats each run from its line and from its choices and compares all events."""
    r = search(name, strategy, budget=40, seed=7)
    assert r.schedules == 40 and r.failure is None


def test_nondeterminism_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def build(sched: Scheduler) -> Callable[[], None]:
        calls.append(1)

        async def work() -> None:
            for _ in range(len(calls) % 5 + 1):
                await point("x")

        sched.spawn(work(), "a")
        sched.spawn(work(), "b")
        return lambda: None

    with pytest.raises(Nondeterminism):
        search(toy(monkeypatch, build), "random", budget=20)


def test_choices_repeat_a_random_run() -> None:
    for name in ("fault_x_two_invalidates", "full_fault_x_fork"):
        c = configs()[name]
        for seed in range(10):
            out = execute(c, Random(seed), trace=True)
            assert same(out, execute(c, Choices.parse(out.choices), trace=True))


def test_choice_lists() -> None:
    text = "0x4.1x9.0x2/0.3"
    assert Choices.parse(text).arg == text
    assert Choices.parse("").arg == "" and pieces_of([1, 1, 0]) == [(1, 2), (0, 1)]
    for bad in ("x", "0x", "1x2.", "0x1/a", "seed=3"):
        with pytest.raises(ValueError):
            Choices.parse(bad)
    for bad in ("fault_x_invalidate random", "fault_x_invalidate dpor -", "fault_x_invalidate random seed=x"):
        with pytest.raises(ValueError):
            replay(bad)
    with pytest.raises(KeyError):
        replay("nothing random seed=1")
    with pytest.raises(ValueError):
        search(FULL[0], "dpor")


def test_preempt_reports_a_changed_program() -> None:
    st = Preempt(None)
    st.begin()
    execute(configs()["fault_x_invalidate"], st)
    assert st.advance()
    st.begin()
    out = execute(configs()["fault_x_two_invalidates"], st)
    assert out.kind == "Oops" and "not deterministic" in out.text


def test_shrinking() -> None:
    """A long random failure becomes the known shortest schedule: fault, reclaim starts, fill."""
    m = mutants()["no_retry"]
    sizes = []
    for seed in (0, 1000, 2000):
        r = search(m.config, "random", mutant=m.name, seed=seed, budget=500, twice=False)
        assert r.failure is not None
        small = shrink(m.config, r.failure, m.name)
        assert small.kind == r.failure.kind and small.switches <= r.failure.switches
        again = replay(f"{m.config}+{m.name} choices {small.choices}")
        assert again.kind == small.kind and again.ids == small.ids
        sizes.append((r.failure.switches, small.switches))
    assert max(s for _, s in sizes) <= 5 and max(b for b, _ in sizes) > 6


def test_timeline() -> None:
    m = mutants()["no_retry"]
    r = search(m.config, "random", mutant=m.name, budget=500, twice=False)
    text = render(replay(r.line))
    assert "Stale" in text and "* device: fill 1" in text and "context switches" in text
    assert all(t in text.splitlines()[0] for t in ("device", "fault", "reclaim"))


# ---- the fixed code ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [c.name for c in CLEAN])
def test_fixed_code_is_clean(name: str) -> None:
    n = 40 if name in FULL else 250
    for strategy in ("random", "pct"):
        r = search(name, strategy, seed=n, budget=n, twice=False)
        assert r.failure is None, f"{r.line}: {r.failure.text}"


# ---- the command line --------------------------------------------------------------------------------------


def test_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    assert all(n in text for n in (*configs(), *mutants()))
    assert main(["run", "fault_x_invalidate", "--budget", "20"]) == 0
    assert main(["run", "no_completion", "--strategy", "dpor"]) == 1
    text = capsys.readouterr().out
    line = re.search(r"context switches: (.*)", text)
    assert line is not None
    assert main(["replay", *line[1].split()]) == 1
    assert "Stale" in capsys.readouterr().out
    assert main(["replay", "nothing random seed=1"]) == 2
    assert main(["table", "register_x_register"]) == 0
    assert main(["bench", "--budget", "200"]) == 0
    assert "/s" in capsys.readouterr().out


def test_a_new_file_is_enough() -> None:
    """Every file of configs/ and mutants/ is found, under its own name."""
    root = Path(cfg.__file__).parent
    for kind, found in (("configs", configs()), ("mutants", mutants())):
        names = {p.stem for p in (root / kind).glob("*.py")} - {"__init__"}
        assert names == set(found)
    for m in mutants().values():
        assert m.config in configs() and m.symptom in runner.KINDS
