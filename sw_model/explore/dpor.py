"""Exhaustive search with dynamic partial-order reduction: source sets and sleep sets, by re-execution.

Two steps of different threads depend on each other when they touch the same attribute of the same object and
one of them writes. The accesses are observed, not declared: while a `Tracker` is on, reads and writes of the
attributes of every tracked class are noted. Reading an attribute that holds a container counts as a write,
because what is done with it is not seen; kfree() writes the whole object; the readers of a rwsem commute.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from sw_model.sched import Thread, WaitQueue

Key = tuple[int, str]
_CONTAINERS = (list, dict, set)


class Tracker:
    """Notes the accesses of each step. Objects are numbered in the order of their first access."""

    def __init__(self) -> None:
        self.numbers: dict[int, int] = {}
        self.keep: list[object] = []
        self.reads: set[Key] = set()
        self.writes: set[Key] = set()
        self.steps: list[tuple[int, frozenset[Key], frozenset[Key]]] = []
        # the step that last woke or spawned a thread, until it runs
        self._enabled_by: dict[int, int] = {}
        #: by step: the step that had to come before because it woke or spawned the thread
        self.edges: dict[int, int] = {}
        self._known: set[int] = set()
        self._runnable: list[Thread] = []
        self._tid = -1

    def _number(self, obj: object) -> int:
        n = self.numbers.get(id(obj))
        if n is None:
            n = self.numbers[id(obj)] = len(self.keep)
            self.keep.append(obj)
        return n

    def read(self, obj: object, name: str) -> None:
        """An attribute is read."""
        n = self._number(obj)
        self.reads.add((n, name))
        self.reads.add((n, "*"))

    def write(self, obj: object, name: str) -> None:
        """An attribute, or with "*" everything, is written."""
        n = self._number(obj)
        self.writes.add((n, name))
        if name != "*":
            self.reads.add((n, "*"))

    def begin(self, thread: Thread, runnable: list[Thread]) -> None:
        """The next step starts; what came before belongs to the last one, or to the set-up."""
        self.end()
        self._tid = thread.id
        if thread.id in self._enabled_by:
            self.edges[len(self.steps)] = self._enabled_by.pop(thread.id)
        self._runnable = runnable
        self._known = {t.id for t in runnable}

    def end(self) -> None:
        """The step is over."""
        if self._tid >= 0:
            now = len(self.steps)
            for t in self._runnable:
                if t.id not in self._known:
                    self._enabled_by[t.id] = now
            reads = frozenset(self.reads - self.writes)
            self.steps.append((self._tid, reads, frozenset(self.writes)))
            self._tid = -1
        self.reads.clear()
        self.writes.clear()


_active: Tracker | None = None


#: functions of RwSem that whose use of the count of readers does not depend on other readers
_READERS = ("down_read", "up_read", "down_read_trylock", "assert_held")


def _get(self: Any, name: str) -> Any:
    value = object.__getattribute__(self, name)
    t = _active
    if t is not None:
        if name == "readers":
            # Readers commute with each other, not with a writer's look at the count.
            (t.read if sys._getframe(1).f_code.co_name in _READERS else t.write)(self, name)
            return value
        if name == "__dict__":
            t.write(self, "*")
        elif name in object.__getattribute__(self, "__dict__"):
            t.read(self, name)
            # An empty wait queue: waking it changes nothing, and who sleeps on it is noted by the runner.
            if isinstance(value, _CONTAINERS) and (value or type(self) is not WaitQueue):
                t.write(self, name)
    return value


def _set(self: Any, name: str, value: object) -> None:
    object.__setattr__(self, name, value)
    if _active is not None and (name != "readers" or sys._getframe(1).f_code.co_name not in _READERS):
        _active.write(self, name)


@contextlib.contextmanager
def tracking(classes: tuple[type, ...]) -> Iterator[None]:
    """With the attribute accesses of these classes observed."""
    for c in classes:
        c.__getattribute__ = _get  # type: ignore[assignment, method-assign]
        c.__setattr__ = _set  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        for c in classes:
            del c.__getattribute__
            del c.__setattr__


def attach(tracker: Tracker | None) -> None:
    """Send what is observed to `tracker`."""
    global _active
    _active = tracker


Footprint = tuple[frozenset[Key], frozenset[Key]]


def _dependent(a: Footprint, b: Footprint) -> bool:
    return not (a[1].isdisjoint(b[1]) and a[1].isdisjoint(b[0]) and a[0].isdisjoint(b[1]))


class _Node:
    """A state of the search: what can run, what must be tried, what need not be."""

    __slots__ = ("backtrack", "chosen", "enabled", "sleep")

    def __init__(self, enabled: list[int], sleep: dict[int, Footprint], chosen: int) -> None:
        self.enabled = enabled
        self.sleep = sleep
        self.chosen = chosen
        self.backtrack = {chosen}


class Dpor:
    """The search: `begin`, an execution that calls `pick` at every step, `finish`; again while it is True."""

    name = "dpor"
    arg = "-"

    def __init__(self) -> None:
        self._stack: list[_Node] = []
        self._depth = 0
        self._fresh = 0  # first step that differs from the execution before
        self.tracker = Tracker()
        self.blocked = 0

    def begin(self) -> Tracker:
        """Start an execution; its tracker."""
        self._depth = 0
        self.tracker = Tracker()
        return self.tracker

    def choose(self, n: int) -> int:
        """Configurations for this strategy make every choice a thread's."""
        raise NotImplementedError("dpor with choices that are no thread's")

    def pick(self, runnable: list[Thread], last: Thread | None) -> Thread | None:
        """The thread of the stack, or behind it one that is not asleep; None when all are."""
        self.tracker.end()
        d = self._depth
        self._depth += 1
        if d < len(self._stack):
            want = self._stack[d].chosen
            for t in runnable:
                if t.id == want:
                    return t
            raise RuntimeError(f"not deterministic: thread {want} cannot run at step {d}")
        sleep: dict[int, Footprint] = {}
        if d:
            _, reads, writes = self.tracker.steps[d - 1]
            before = self._stack[d - 1]
            for q, fp in before.sleep.items():
                if q != before.chosen and not _dependent(fp, (reads, writes)):
                    sleep[q] = fp
        awake = [t for t in runnable if t.id not in sleep]
        if not awake:
            return None
        t = last if last is not None and last in awake else min(awake, key=lambda t: t.id)
        self._stack.append(_Node([t.id for t in runnable], sleep, t.id))
        return t

    def finish(self) -> bool:
        """Add what the races of the execution ask for, and go to the next one; False at the end."""
        self.tracker.end()
        steps = self.tracker.steps
        self._races(steps)
        while self._stack:
            node = self._stack[-1]
            i = len(self._stack) - 1
            if i < len(steps):
                node.sleep[node.chosen] = (steps[i][1], steps[i][2])
            todo = [p for p in sorted(node.backtrack) if p not in node.sleep]
            if todo:
                node.chosen = todo[0]
                self._fresh = i
                return True
            self._stack.pop()
        return False

    def _races(self, steps: list[tuple[int, frozenset[Key], frozenset[Key]]]) -> None:
        hb: list[int] = []
        enabled = self.tracker.edges
        last_of: dict[int, int] = {}
        writer: dict[Key, int] = {}
        readers: dict[Key, list[int]] = {}
        for i, (tid, reads, writes) in enumerate(steps):
            direct = set()
            if tid in last_of:
                direct.add(last_of[tid])
            if i in enabled:
                direct.add(enabled[i])
            conflicts = set()
            for k in reads:
                if k in writer:
                    conflicts.add(writer[k])
                readers.setdefault(k, []).append(i)
            for k in writes:
                if k in writer:
                    conflicts.add(writer[k])
                for j in readers.get(k, ()):
                    if j != i:
                        conflicts.add(j)
                writer[k] = i
                readers[k] = []
            before = 0
            for j in direct:
                before |= hb[j]
            # Latest first: an earlier one that is ordered through a later one is no race.
            for j in sorted(conflicts, reverse=True):
                if before >> j & 1:
                    continue
                before |= hb[j]
                if i >= self._fresh:
                    self._reverse(steps, hb, j, i, before)
            hb.append(before | 1 << i)
            last_of[tid] = i

    def _reverse(self, steps: list[Any], hb: list[int], j: int, i: int, before: int) -> None:
        """Make sure that at step j something is tried that leads to i before j."""
        node = self._stack[j]
        initials: list[int] = []
        seen = 0
        first: set[int] = set()
        for k in [*(k for k in range(j + 1, i) if not hb[k] >> j & 1), i]:
            tid = steps[k][0]
            past = before & ~hb[j] if k == i else hb[k]
            if tid not in first and not past & seen:
                initials.append(tid)
            first.add(tid)
            seen |= 1 << k
        if any(t in node.backtrack for t in initials):
            return
        able = [t for t in initials if t in node.enabled]
        if able:
            node.backtrack.add(able[-1])
        else:
            node.backtrack.update(node.enabled)
