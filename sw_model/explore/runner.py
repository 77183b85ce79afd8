"""Runs one schedule, and searches; a run is one line (sw_model.explore.line)."""

from __future__ import annotations

import contextlib
import gc
import heapq
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sw_model import sched as kernel
from sw_model.explore import notes
from sw_model.explore.config import Config, configs, mutants
from sw_model.explore.dpor import Dpor, Tracker, attach, tracking
from sw_model.explore.line import Line, parse
from sw_model.explore.strategies import Choices, Pct, Preempt, Random, Strategy, pieces_of
from sw_model.explore.world import TRACKED, Stale
from sw_model.locking import KernelBug, UseAfterFree, is_freed
from sw_model.sched import POINT, WAIT, Deadlock, Scheduler, VirtualClock

#: steps after which a run counts as a livelock
LIMIT = 2000
KINDS = ("Stale", "UseAfterFree", "Deadlock", "Livelock", "KernelBug", "Assertion", "Oops")


class Livelock(AssertionError):
    """The threads run for ever."""


class Blocked(Exception):
    """DPOR: what follows has been explored already."""


@dataclass
class Outcome:
    """How a run ended. `kind` is None when all was well."""

    kind: str | None
    text: str
    ids: list[int]  # the thread of each step
    device: list[int] = field(default_factory=list)
    blocked: bool = False
    #: with trace=True: (thread id, what, is it a model's note) of each step, and the names of the threads
    events: list[tuple[int, str, bool]] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)

    @property
    def switches(self) -> int:
        """Context switches."""
        return len(pieces_of(self.ids)) - 1 if self.ids else 0

    @property
    def choices(self) -> str:
        """The choice list that repeats the run."""
        device = list(self.device)
        while device and not device[-1]:
            device.pop()
        return Choices(pieces_of(self.ids), device).arg


def kind_of(e: BaseException) -> str:
    """The name of a failure."""
    for cls, name in (
        (Stale, "Stale"), (UseAfterFree, "UseAfterFree"), (Deadlock, "Deadlock"), (Livelock, "Livelock"),
        (KernelBug, "KernelBug"), (AssertionError, "Assertion"),
    ):  # fmt: skip
        if isinstance(e, cls):
            return name
    return "Oops"


class ExploreScheduler(Scheduler):
    """A scheduler that `execute` drives; `choose(n)` asks the strategy which of n things happens."""

    picker: Strategy
    choice_log: list[int]

    def choose(self, n: int) -> int:
        """A choice that is no thread's."""
        i = self.picker.choose(n) if n > 1 else 0
        if n > 1:
            self.choice_log.append(i)
        return i


def _name(obj: object) -> str:
    if obj is None or is_freed(obj):
        return "" if obj is None else repr(obj)
    return str(getattr(obj, "name", "") or type(obj).__name__)


def execute(
    config: Config, strategy: Any, trace: bool = False, tracker: Tracker | None = None, limit: int = LIMIT
) -> Outcome:
    """Run one schedule of a configuration to the end, or to its first failure."""
    sched = ExploreScheduler()
    sched.picker, sched.choice_log = strategy, []
    ids: list[int] = []
    events: list[tuple[int, str, bool]] = []
    every = getattr(strategy, "step", None) or (tracker and strategy.pick)
    pick = every or strategy.pick
    kind, text, blocked = None, "", False
    names: dict[int, str] = {}
    try:
        check = config.build(sched)
        if trace:
            notes.sink = events
        runnable, threads = sched.runnable, sched.threads
        clock, sleepers = sched.clock, sched.sleepers
        assert isinstance(clock, VirtualClock)
        last = None
        left = limit
        while True:
            if not runnable:
                if not sleepers or all(t.daemon for t in threads):
                    break
                clock.ns = sleepers[0][0]
                while sleepers and sleepers[0][0] <= clock.ns:
                    runnable.append(heapq.heappop(sleepers)[2])
            left -= 1
            if not left:
                raise Livelock(f"{limit} steps: " + ", ".join(t.name for t in runnable))
            t = pick(runnable, last) if every or len(runnable) > 1 else runnable[0]
            if t is None:
                raise Blocked
            ids.append(t.id)
            sched.current = kernel.running = last = t
            if trace:
                notes.thread = t.id
                names[t.id] = t.name
                events.append((t.id, f"{t.where[0]} {_name(t.where[1])}".rstrip(), False))
            if tracker is not None:
                tracker.begin(t, runnable)
            try:
                op, a, b = t.coro.send(None)
            except StopIteration as e:
                t.done, t.result, last = True, e.value, None
                runnable.remove(t)
                threads.remove(t)
                if t.locks:
                    t.check_exit()
                if t.exit_wq.waiters:
                    t.exit_wq.wake_all()
            else:
                if op == POINT:
                    t.where = (a, b)
                elif op == WAIT:
                    last = None
                    runnable.remove(t)
                    t.blocked_on = a
                    t.where = ("sleep on" if trace else "wait", a)
                    if tracker is not None:
                        tracker.write(a, "waiters")
                    a.waiters.append(t)
                else:
                    last = None
                    runnable.remove(t)
                    t.where = ("sleep", None)
                    sched._sleep(t, a)
        stuck = [t for t in threads if not t.daemon]
        if stuck:
            raise Deadlock(", ".join(f"{t.name} waits for {_name(t.blocked_on)}" for t in stuck))
        check()
    except Blocked:
        blocked = True
    except Exception as e:
        kind, text = kind_of(e), f"{type(e).__name__}: {e}"
    finally:
        notes.sink, notes.thread, kernel.running = None, -1, None
        sched.lock_order = None  # it keeps the locks of the run alive
        for t in sched.threads:
            with contextlib.suppress(Exception):
                t.coro.close()
    return Outcome(kind, text, ids, sched.choice_log, blocked, events, names)


# ---- searching -------------------------------------------------------------------------------------------


@dataclass
class Report:
    """What a search did. `complete` says that every schedule of the strategy's kind has been run."""

    config: str
    mutant: str
    strategy: str
    schedules: int = 0
    blocked: int = 0  # executions that DPOR cut short, not counted in schedules
    steps: int = 0
    longest: int = 0
    complete: bool = False
    seconds: float = 0.0
    cpu: float = 0.0  # seconds of processor time
    failure: Outcome | None = None
    line: str = ""

    @property
    def label(self) -> str:
        """configuration[+mutant]."""
        return f"{self.config}+{self.mutant}" if self.mutant else self.config


class Nondeterminism(AssertionError):
    """The same choices gave other events."""


def same(a: Outcome, b: Outcome) -> bool:
    """True when two runs did the same."""
    return (a.ids, a.device, a.kind, a.text, a.events) == (b.ids, b.device, b.kind, b.text, b.events)


@contextlib.contextmanager
def _quiet_gc() -> Iterator[None]:
    """Collect cyclic garbage while it is in the processor's cache; leave alone what was there before."""
    old = gc.get_threshold()
    gc.set_threshold(5_000, 50, 50)
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*old)


def search(
    name: str,
    strategy: str = "random",
    *,
    mutant: str | None = None,
    seed: int = 0,
    budget: int = 1000,
    depth: int = 3,
    bound: int | None = 2,
    twice: bool = True,
) -> Report:
    """Run up to `budget` schedules of a configuration; stops at the first failure (that the mutant shows).

    Strategies: random and pct (seeds from `seed` on), preempt (all schedules with at most `bound`
    preemptions) and dpor (one of each class of equivalent schedules). With `twice` every run is repeated and
    compared; raises Nondeterminism when they differ. Raises KeyError for an unknown name.
    """
    config = configs()[name]
    report = Report(name, mutant or "", strategy)
    shows = mutants()[mutant].shows if mutant else ""
    with mutants()[mutant].on() if mutant else contextlib.nullcontext(), _quiet_gc():
        start, cpu = time.perf_counter(), time.process_time()
        run = {"random": _seeds, "pct": _seeds, "preempt": _preempt, "dpor": _dpor}[strategy]
        for out, arg, strategy_name in run(config, strategy, seed, budget, depth, bound):
            report.steps += len(out.ids)
            report.longest = max(report.longest, len(out.ids))
            report.blocked += out.blocked
            report.schedules += not out.blocked
            if twice and not out.blocked:
                again = execute(config, Choices.parse(out.choices), trace=True)
                once = execute(config, strategy_of(strategy_name, arg), trace=True)
                if not same(again, once) or (again.ids, again.kind) != (out.ids, out.kind):
                    raise Nondeterminism(Line("", name, report.mutant, strategy_name, arg))
            if out.kind is not None and shows in out.text:
                report.failure, report.line = out, str(Line("", name, report.mutant, strategy_name, arg))
                break
        else:
            report.complete = strategy in ("preempt", "dpor") and report.schedules + report.blocked < budget
        report.seconds, report.cpu = time.perf_counter() - start, time.process_time() - cpu
    return report


def _seeds(
    config: Config, strategy: str, seed: int, budget: int, depth: int, bound: int | None
) -> Iterator[tuple[Outcome, str, str]]:
    steps = 0
    if strategy == "pct":
        steps = max(2, len(execute(config, Random(seed)).ids))
    for s in range(seed, seed + budget):
        st = Pct(s, depth, steps) if strategy == "pct" else Random(s)
        yield execute(config, st), st.arg, strategy


def _preempt(
    config: Config, strategy: str, seed: int, budget: int, depth: int, bound: int | None
) -> Iterator[tuple[Outcome, str, str]]:
    st = Preempt(bound)
    for _ in range(budget):
        st.begin()
        out = execute(config, st)
        yield out, out.choices, "choices"
        if not st.advance():
            return


def _dpor(
    config: Config, strategy: str, seed: int, budget: int, depth: int, bound: int | None
) -> Iterator[tuple[Outcome, str, str]]:
    if not config.exhaustive:
        raise ValueError(f"{config.name} has state that is not tracked: dpor is not for it")
    st = Dpor()
    with contextlib.ExitStack() as stack:
        stack.callback(attach, None)
        for _ in range(budget):
            with tracking((*TRACKED, *config.tracked)):
                tracker = st.begin()
                attach(tracker)
                out = execute(config, st, tracker=tracker)
                attach(None)
            more = st.finish()
            yield out, out.choices, "choices"
            if not more:
                return


def strategy_of(name: str, arg: str) -> Any:
    """The strategy that a line names. ValueError or TypeError for a wrong one."""
    if name == "choices":
        return Choices.parse("" if arg == "-" else arg)
    values = {k: int(v) for k, _, v in (x.partition("=") for x in arg.split(","))}
    if name == "random":
        return Random(**values)
    if name == "pct":
        return Pct(**values)
    raise ValueError(f"{name} is not repeated from its argument")


def replay(text: str, trace: bool = True) -> Outcome:
    """Repeat a run from its line; the same events. ValueError, KeyError or TypeError for a wrong line."""
    line = parse(text)
    strategy = strategy_of(line.strategy, line.arg)
    with mutants()[line.mutant].on() if line.mutant else contextlib.nullcontext():
        return execute(configs()[line.config], strategy, trace)
