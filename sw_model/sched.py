"""Kernel threads as coroutines, with an explicit point wherever another CPU could get in between.

Kernel code is `async def`; it reaches the scheduler only through the primitives here:

- `await point(kind, obj)`: another thread may run now (a lock, refcount, sequence count,
  page-table or device access is about to happen);
- `await WaitQueue.wait(condition)`: sleep until woken and the condition holds (wait_event);
- `await sleep(ns)`: sleep for simulated time.

The same code runs under simulated time (tb/) and under a deterministic explorer: a `Strategy` chooses
which runnable thread goes next and how long it is delayed at a point; a `Clock` tells the time.
"""

from __future__ import annotations

import heapq
import random
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Protocol

POINT, WAIT, SLEEP = 0, 1, 2


#: the thread that runs now; None while set-up code or the simulator does
running: Thread | None = None


class KernelBug(AssertionError):
    """BUG_ON(), WARN_ON() or a lockdep report: the model's code broke a rule of the kernel."""


class Deadlock(Exception):
    """No thread can run, none sleeps, and some have not finished."""


@types.coroutine
def point(kind: str, obj: object = None) -> Generator[tuple, None, None]:
    """A place where the scheduler may switch; `kind` names it ("lock", "kref", "seq", "pte", ...)."""
    yield (POINT, kind, obj)


@types.coroutine
def sleep(ns: int) -> Generator[tuple, None, None]:
    """Sleep for `ns` nanoseconds of simulated time (schedule_timeout)."""
    if running is not None and running.locks:
        might_sleep(running, "a timeout")
    yield (SLEEP, ns, None)


@types.coroutine
def _wait(queue: WaitQueue) -> Generator[tuple, None, None]:
    yield (WAIT, queue, None)


class WaitQueue:
    """Linux's wait_queue_head: threads sleep on it until woken with their condition true."""

    #: a thread that holds a spinlock may wait here: it spins
    spins = False

    def __init__(self, name: str = "wq") -> None:
        self.name = name
        self.waiters: list[Thread] = []

    async def wait(self, condition: Callable[[], object]) -> None:
        """wait_event(): returns when `condition()` is true; checked before sleeping and at each wake."""
        if running is not None and running.locks and not self.spins:
            might_sleep(running, self.name)
        await point("wait", self)
        while not condition():
            await _wait(self)

    def wake_all(self) -> None:
        """wake_up_all(): make every waiter runnable. Never switches; callable from any context."""
        for t in self.waiters:
            t.blocked_on = None
            t.sched.runnable.append(t)
        self.waiters.clear()


class SpinQueue(WaitQueue):
    """Who waits here spins."""

    spins = True


def might_sleep(thread: Thread, what: str) -> None:
    """might_sleep(): raises KernelBug under a spinlock or in a section that must not block."""
    for held in thread.locks:
        if held.atomic:
            raise KernelBug(f"{thread.name} may sleep for {what} holding {held.name}")


class Thread:
    """One kernel thread. `done`, `result` and `error` are valid once it has finished."""

    def __init__(self, sched: Scheduler, coro: Coroutine, name: str, daemon: bool) -> None:
        self.sched = sched
        #: number in the order of spawning: names the thread in a recorded schedule
        self.id = sched.spawned
        sched.spawned += 1
        self.coro = coro
        self.name = name
        self.daemon = daemon
        self.blocked_on: object = None
        #: the locks that it holds, in the order of taking (see lockdep)
        self.locks: list[Any] = []
        #: it was killed: what is interruptible gives -EINTR
        self.killed = False
        self.where: tuple[str, object] = ("start", None)
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.exit_wq = WaitQueue(f"exit:{name}")

    async def join(self) -> Any:
        """Wait for the thread to finish; its result, or its exception raised here."""
        await self.exit_wq.wait(lambda: self.done)
        if self.error is not None:
            raise self.error
        return self.result

    def check_exit(self) -> None:
        """debug_check_no_locks_held(): raises KernelBug."""
        if self.locks:
            raise KernelBug(f"{self.name} ends holding {', '.join(h.name for h in self.locks)}")

    def __repr__(self) -> str:
        return f"<Thread {self.name} at {self.where[0]}>"


def signal_pending() -> bool:
    """signal_pending(current)."""
    return running is not None and running.killed


class Clock(Protocol):
    """Simulated time."""

    def now(self) -> int:
        """Nanoseconds since the start."""


class VirtualClock:
    """A clock that jumps to the next sleeper when nothing can run."""

    def __init__(self) -> None:
        self.ns = 0

    def now(self) -> int:
        """Nanoseconds since the start."""
        return self.ns


class Strategy(Protocol):
    """Which runnable thread runs next, and what a point costs."""

    def choose(self, runnable: list[Thread]) -> int:
        """Index into `runnable` (never empty)."""

    def delay(self, thread: Thread, kind: str) -> int:
        """Nanoseconds the thread is away at this point; 0 keeps it runnable."""


class FirstStrategy:
    """Run each thread until it blocks: no switch at points. The fastest, for set-up code."""

    def choose(self, runnable: list[Thread]) -> int:
        """Always the most recently run thread that can still run."""
        return len(runnable) - 1

    def delay(self, thread: Thread, kind: str) -> int:
        """No delay."""
        return 0


class RandomStrategy:
    """Seeded: switches with probability `switch`, and costs time with probability `slow`.

    A delayed thread is away for 1 to `max_ns` nanoseconds.
    """

    def __init__(self, seed: int, switch: float = 0.2, slow: float = 0.0, max_ns: int = 0) -> None:
        self.rng = random.Random(seed)
        self.switch = switch
        self.slow = slow
        self.max_ns = max_ns

    def choose(self, runnable: list[Thread]) -> int:
        """The last run thread, or with probability `switch` any."""
        n = len(runnable)
        if n == 1:
            return 0
        if self.rng.random() < self.switch:
            return self.rng.randrange(n)
        return n - 1

    def delay(self, thread: Thread, kind: str) -> int:
        """0, or with probability `slow` a random time."""
        if self.slow and self.rng.random() < self.slow:
            return self.rng.randint(1, self.max_ns)
        return 0


class Scheduler:
    """Runs kernel threads one at a time; whoever owns time calls `run_ready` and `next_deadline`."""

    def __init__(self, strategy: Strategy | None = None, clock: Clock | None = None) -> None:
        self.strategy: Strategy = strategy or FirstStrategy()
        self.clock: Clock = clock or VirtualClock()
        self.runnable: list[Thread] = []
        self.sleepers: list[tuple[int, int, Thread]] = []
        self.threads: list[Thread] = []
        self.current: Thread | None = None
        self.spawned = 0
        self.switches = 0
        #: lockdep's graph of this run
        self.lock_order: Any = None
        self._tick = 0

    def spawn(self, coro: Coroutine, name: str, daemon: bool = False) -> Thread:
        """Make a thread. A daemon may still be blocked when the run ends."""
        t = Thread(self, coro, name, daemon)
        self.threads.append(t)
        self.runnable.append(t)
        return t

    def step(self) -> None:
        """Run one runnable thread up to its next point."""
        global running
        i = self.strategy.choose(self.runnable)
        t = self.runnable.pop(i)
        self.current = running = t
        self.switches += 1
        try:
            op, a, b = t.coro.send(None)
        except StopIteration as e:
            self._finish(t, e.value, None)
            t.check_exit()
        except Exception as e:
            self._finish(t, None, e)
        else:
            if op == POINT:
                t.where = (a, b)
                ns = self.strategy.delay(t, a)
                if ns:
                    self._sleep(t, ns)
                else:
                    self.runnable.append(t)
            elif op == WAIT:
                t.blocked_on = a
                a.waiters.append(t)
            else:
                t.where = ("sleep", None)
                self._sleep(t, a)
        finally:
            self.current = running = None

    def _sleep(self, t: Thread, ns: int) -> None:
        self._tick += 1
        heapq.heappush(self.sleepers, (self.clock.now() + max(1, ns), self._tick, t))

    def _finish(self, t: Thread, result: Any, error: BaseException | None) -> None:
        t.done, t.result, t.error = True, result, error
        self.threads.remove(t)
        joined = bool(t.exit_wq.waiters)
        t.exit_wq.wake_all()
        if error is not None and not joined:
            raise error

    def run_ready(self) -> None:
        """Wake due sleepers and run until nothing is runnable at the present time.

        Raises what a thread raised, unless another thread is joining it.
        """
        while True:
            now = self.clock.now()
            while self.sleepers and self.sleepers[0][0] <= now:
                self.runnable.append(heapq.heappop(self.sleepers)[2])
            if not self.runnable:
                return
            self.step()

    def next_deadline(self) -> int | None:
        """Time in ns of the earliest sleeper, or None."""
        return self.sleepers[0][0] if self.sleepers else None

    @property
    def finished(self) -> bool:
        """True when only daemons are left."""
        return all(t.daemon for t in self.threads)

    def run(self, idle: Callable[[int | None], bool] | None = None) -> None:
        """Run without a simulator until only daemons are left.

        When nothing is runnable, `idle(deadline_ns)` may make something happen (a device model's
        event) and return True; otherwise a VirtualClock jumps to the earliest sleeper.
        Raises Deadlock when nothing can happen any more.
        """
        while True:
            self.run_ready()
            if self.finished:
                return
            deadline = self.next_deadline()
            if idle is not None and idle(deadline):
                continue
            if deadline is None or not isinstance(self.clock, VirtualClock):
                raise Deadlock(", ".join(f"{t.name} at {t.where[0]}" for t in self.threads))
            self.clock.ns = deadline

    def run_until_complete(self, main: Awaitable, name: str = "main") -> Any:
        """Run one thread, and those it spawns, to the end; its result."""

        async def wrap() -> Any:
            return await main

        t = self.spawn(wrap(), name)
        self.run()
        return t.result
