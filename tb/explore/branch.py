"""Runs on the RTL by fork: a world is set up once, and every run, and every branch of a run, is a copy of it.

A Machine keeps a process with the world as it is before the first choice. `run` forks it for one schedule.
`search` lets the run fork at every choice point, once for each alternative within a bound of deviations (a
deviation takes another choice than the first: the thread that ran, else the oldest; the device's first step).
One process runs at a time, so results come in an order that repeats.
"""

from __future__ import annotations

import gc
import mmap
import os
import pickle
import struct
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from sw_model.explore.config import Config, configs, mutants
from sw_model.explore.runner import Blocked, Outcome, execute, replay
from sw_model.explore.shrink import shrink
from sw_model.explore.strategies import Choices, Random, pieces_of
from sw_model.sched import Thread
from tb.explore.contract import CONFIGS
from tb.explore.follow import Follow, plan_of
from tb.explore.rtl_world import on_rtl

_LENGTH = struct.Struct("<Q")
_STOP, _STARTED, _FINISHED, _STEPS = range(4)


class Dfs:
    """Every schedule with at most `bound` deviations, depth first; each alternative is a fork of the process.

    `budget` bounds the number of schedules. `counts` is memory that all processes share.
    """

    def __init__(self, bound: int, budget: int, first_failure: bool = True) -> None:
        self.left = bound
        self.budget = budget
        self.first_failure = first_failure
        self.counts: Any = None

    def pick(self, runnable: list[Thread], last: Thread | None) -> Thread:
        """The thread that ran, or another as a deviation."""
        ts = sorted(runnable, key=lambda t: (t is not last, t.id))
        return ts[self.choose(len(ts))]

    def choose(self, n: int) -> int:
        """The first, here; the others in copies of this process, before."""
        for i in range(1, n if self.left else 1):
            if self.counts[_STOP] or self.counts[_STARTED] >= self.budget:
                break
            self.counts[_STARTED] += 1
            if _fork():
                continue
            self.left -= 1
            return i
        if self.counts[_STOP]:
            raise Blocked
        return 0


def _fork() -> int:
    """fork(); the parent returns when the child has ended. RuntimeError when it crashed."""
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        if status:
            raise RuntimeError(f"a branch ended with status {status}")
    return pid


class _Server:
    """The strategy of a Machine's world: waits for requests before the first choice."""

    def __init__(self, requests: int, results: int, counts: Any) -> None:
        self.requests = requests
        self.results = results
        self.counts = counts
        self.devices: list[Any] = []  # that were made: the last is the world's
        self.inner: Any = None

    def step(self, runnable: list[Thread], last: Thread | None) -> Thread:
        """As the strategy that was asked for."""
        self._wait()
        step = getattr(self.inner, "step", None)
        if step is not None:
            return step(runnable, last)
        return runnable[0] if len(runnable) == 1 else self.inner.pick(runnable, last)

    pick = step

    def choose(self, n: int) -> int:
        """As the strategy that was asked for."""
        self._wait()
        return self.inner.choose(n)

    def _wait(self) -> None:
        """Returns in a copy of this process that has a run to do."""
        if self.inner is not None:
            return
        gc.collect()
        gc.freeze()
        gc.disable()
        while (request := _receive(self.requests)) is not None:
            pid = os.fork()
            if not pid:
                self.accept(request)
                return
            _, status = os.waitpid(pid, 0)
            _send(self.results, f"a run ended with status {status}" if status else None)
        os._exit(0)

    def accept(self, request: Any) -> None:
        """Become the strategy that was asked for."""
        self.inner = request
        if isinstance(request, Dfs):
            request.counts = self.counts
        if not self.devices:
            raise RuntimeError("the configuration makes no device through FullWorld.make_device")
        if isinstance(request, Follow):
            request.device = self.devices[-1]

    def answer(self, out: Outcome) -> None:
        """The outcome of a run."""
        for name in ("Mismatch", "HarnessError"):
            if out.text.startswith(f"{name}:"):
                out.kind = name
        if not isinstance(self.inner, Dfs):
            _send(self.results, out)
            return
        if out.blocked:
            return
        self.counts[_FINISHED] += 1
        self.counts[_STEPS] += len(out.ids)
        if out.kind is not None:
            _send(self.results, out)
            self.counts[_STOP] |= self.inner.first_failure


def _send(fd: int, what: Any) -> None:
    data = pickle.dumps(what)
    data = _LENGTH.pack(len(data)) + data
    while data:
        data = data[os.write(fd, data) :]


def _receive(fd: int) -> Any:
    """What was sent; None at the end of the file."""
    head = _read(fd, _LENGTH.size)
    return pickle.loads(_read(fd, _LENGTH.unpack(head)[0])) if head else None


def _read(fd: int, n: int) -> bytes:
    out = b""
    while len(out) < n:
        piece = os.read(fd, n - len(out))
        if not piece:
            return b""
        out += piece
    return out


@dataclass
class Found:
    """What a search did. `complete`: every schedule within the bound has been run.

    `runs` counts those of smaller bounds, which come first, again.
    """

    schedules: int = 0
    runs: int = 0
    steps: int = 0
    seconds: float = 0.0
    bound: int = 0
    complete: bool = False
    failure: Outcome | None = None


class Machine:
    """One configuration's world on the RTL, ready for its first choice; a context manager.

    `label` is its name in a line. Raises KeyError for an unknown configuration or mutant, ValueError for an
    unknown plant or a configuration without the full stack.
    """

    def __init__(
        self, name: str, mutant: str | None = None, plant: str | None = None, compare: bool = True
    ) -> None:
        self.config: Config = CONFIGS.get(name) or configs()[name]
        if self.config.stack not in ("full", "device"):
            raise ValueError(
                f"{name} has no device that the RTL could stand for: its stack is {self.config.stack}"
            )
        self.mutant = mutant
        self.label = f"rtl:{name}" + (f"+{mutant}" if mutant else "") + (f"@{plant}" if plant else "")
        self._counts = np.frombuffer(mmap.mmap(-1, mmap.PAGESIZE), "<i8")
        requests, self._requests = os.pipe()
        self._results, results = os.pipe()
        server = _Server(requests, results, self._counts)
        with mutants()[mutant].on() if mutant else nullcontext(), on_rtl(plant, compare, server.devices):
            self._pid = os.fork()
            if not self._pid:
                os.close(self._requests)
                os.close(self._results)
                self._serve(server)
        os.close(requests)
        os.close(results)

    def _serve(self, server: _Server) -> None:
        """Never returns. A world whose set-up fails answers every request with that."""
        try:
            out = execute(self.config, server, trace=True)
            if server.inner is not None:
                server.answer(out)
                os._exit(0)
            while (request := _receive(server.requests)) is not None:
                server.accept(request)
                server.answer(out)
                _send(server.results, None)
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
        os._exit(1)

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; harmless twice."""
        if self._pid:
            os.close(self._requests)
            os.close(self._results)
            os.waitpid(self._pid, 0)
            self._pid = 0

    def _ask(self, strategy: Any) -> Iterator[Outcome]:
        self._counts[:4] = 0
        _send(self._requests, strategy)
        while (out := _receive(self._results)) is not None:
            if isinstance(out, str):
                raise RuntimeError(f"{self.label}: {out}")
            yield out

    def run(self, strategy: Any) -> Outcome:
        """One schedule, with its events."""
        outcomes = list(self._ask(strategy))
        if not outcomes:
            raise RuntimeError(f"{self.label}: the process of the world has died")
        return outcomes[0]

    def search(self, bound: int, budget: int = 1_000_000) -> Found:
        """Every schedule with up to `bound` deviations, those with fewer first, up to the first failure."""
        found = Found()
        start = time.perf_counter()
        for b in range(bound + 1):
            failures = list(self._ask(Dfs(b, budget - 1)))
            found.bound = b
            found.steps += int(self._counts[_STEPS])
            found.schedules = int(self._counts[_FINISHED])
            found.runs += found.schedules
            if failures:
                found.failure = failures[0]
                break
            found.complete = found.schedules < budget
            if not found.complete:
                break
        found.seconds = time.perf_counter() - start
        return found

    def walk(self, budget: int, seed: int = 0) -> Found:
        """`budget` random schedules, up to the first failure."""
        found = Found()
        start = time.perf_counter()
        for s in range(seed, seed + budget):
            out = self.run(Random(s))
            found.schedules += 1
            found.runs += 1
            found.steps += len(out.ids)
            if out.kind is not None:
                found.failure = out
                break
        found.seconds = time.perf_counter() - start
        return found

    def follow(self, line: str) -> Outcome:
        """The schedule of a line of sw_model.explore, on the RTL (Follow)."""
        return self.run(Follow(plan_of(replay(line))))

    def shrink(self, out: Outcome, budget: int = 400) -> Outcome:
        """A shorter run that fails in the same kind: fewer context switches, then simpler choices."""
        if self.config.stack == "full":
            out = shrink(
                self.config.name, out, self.mutant, budget // 2, lambda _, choices: self.run(choices)
            )
        best = out
        progress = True
        while progress:
            progress = False
            for device in _simpler(best.device):
                budget -= 1
                if budget < 0:
                    return best
                new = self.run(Choices(pieces_of(best.ids), device))
                if new.kind == out.kind and _cost(new) < _cost(best):
                    best, progress = new, True
                    break
        return best


def _cost(out: Outcome) -> tuple[int, int, int]:
    return out.switches, len(out.ids), sum(out.device)


def _simpler(choices: list[int]) -> Iterator[list[int]]:
    """Shorter choice lists, then lists with a 0 for a choice."""
    n = len(choices)
    for width in (16, 8, 4, 2, 1):
        for i in range(0, n - width + 1, max(1, width // 2)):
            yield choices[:i] + choices[i + width :]
    for i, c in enumerate(choices):
        if c:
            yield [*choices[:i], 0, *choices[i + 1 :]]
