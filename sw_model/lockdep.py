"""The lock validator (kernel/locking/lockdep.c): wrong uses of locks are reported although nothing hangs.

Each thread has the list of what it holds. Taking one lock while another is held is an edge between their
classes; the edges of one run, over all its threads, must not close a circle. A class is the last part of a
lock's name, so that the mmap_lock of every process is one; a lock without a name is a class of its own.
Reported as KernelBug, with what each thread took and held:

- an inversion: the circle of two or more classes, whether or not this schedule deadlocks;
- a lock taken twice, or two of one class that are not said to be `nested`;
- what may sleep, under a spinlock or in a section that must not block;
- a lock released by a thread that does not hold it, or held when its thread ends or its object is freed.

A trylock makes no edge, but what follows it does. Shared and exclusive are one: a reader waits for a
waiting writer.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from sw_model import sched
from sw_model.sched import KernelBug, Thread, might_sleep

#: who took which lock and what it held; read only for a report
_Edge = tuple[str, Any, tuple[Any, ...]]


def _name(lock: object) -> str:
    """Also of a lock that has been freed since."""
    return str(object.__getattribute__(lock, "__dict__")["name"])


def _names(locks: Iterable[object]) -> str:
    return ", ".join(map(_name, locks))


_CLASSES: dict[str, str] = {}


def lock_class(lock: Any) -> object:
    """The class of a lock: the last part of its name, or without one the lock itself."""
    name = lock.name
    return _CLASSES.get(name) or _CLASSES.setdefault(name, name.rpartition(".")[2]) or lock


class LockOrder:
    """The edges of one run: by class held and by class taken."""

    def __init__(self) -> None:
        # Reclaim calls notifiers: so says every registration (__mmu_notifier_register).
        known: _Edge = ("reclaim", INVALIDATE_START, (FS_RECLAIM,))
        self.after: dict[object, dict[object, _Edge]] = {FS_RECLAIM.name: {INVALIDATE_START.name: known}}

    def add(self, thread: Thread, held: object, taken: object, lock: Any) -> None:
        """The first edge between two classes. Raises KernelBug when it closes a circle."""
        if taken in self.after:
            path = self._path(taken, held)
            if path is not None:
                before = "; ".join(
                    f"{who} took {_name(what)} holding {_names(locks)}" for who, what, locks in path
                )
                raise KernelBug(
                    f"lock order: {thread.name} takes {lock.name} holding {_names(thread.locks)}; {before}"
                )
        self.after.setdefault(held, {})[taken] = thread.name, lock, tuple(thread.locks)

    def _path(self, start: object, end: object) -> list[_Edge] | None:
        """Edges that lead from one class to another."""
        came: dict[object, object] = {start: None}
        todo = [start]
        while todo:
            c = todo.pop()
            if c == end:
                path = []
                while c != start:
                    path.insert(0, self.after[came[c]][c])
                    c = came[c]
                return path
            for n in self.after.get(c, ()):
                if n not in came:
                    came[n] = c
                    todo.append(n)
        return None


def taking(thread: Thread, lock: Any, nested: bool = False) -> None:
    """`thread`, which holds something, is about to take `lock` and may wait for it."""
    order = thread.sched.lock_order
    if order is None:
        order = thread.sched.lock_order = LockOrder()
    taken = lock_class(lock)
    for held in thread.locks:
        if held.atomic and lock.sleeps:
            might_sleep(thread, lock.name)
        if held is lock:
            raise KernelBug(f"lock order: {thread.name} takes {lock.name} twice")
        own = lock_class(held)
        if taken in order.after.get(own, ()) or held is NON_BLOCK:
            continue
        if own == taken:
            if nested:
                continue
            raise KernelBug(
                f"lock order: {thread.name} takes {lock.name} holding {held.name} of the same class"
            )
        order.add(thread, own, taken, lock)


def released(thread: Thread, lock: Any) -> None:
    """`thread` releases `lock`."""
    locks = thread.locks
    if locks and locks[-1] is lock:
        locks.pop()
    elif lock in locks:
        locks.remove(lock)
    elif not isinstance(sys.exception(), GeneratorExit):  # raised in a thread that is thrown away
        raise KernelBug(f"{thread.name} releases {lock.name} and does not hold it")


class LockMap:
    """struct lockdep_map: a dependency that no lock stands for. `sleeps`: what it stands for may sleep."""

    atomic = False

    def __init__(self, name: str, sleeps: bool = True) -> None:
        self.name = name
        self.sleeps = sleeps

    def acquire(self) -> None:
        """lock_map_acquire()."""
        t = sched.running
        if t is not None:
            if t.locks:
                taking(t, self)
            t.locks.append(self)

    def release(self) -> None:
        """lock_map_release()."""
        t = sched.running
        if t is not None:
            if t.locks and t.locks[-1] is self:
                t.locks.pop()
            else:
                released(t, self)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *exc: object) -> None:
        self.release()

    def touch(self) -> None:
        """lock_map_acquire() and lock_map_release(): a caller may have to wait for who holds it."""
        t = sched.running
        if t is not None and t.locks:
            taking(t, self)


class _NonBlock(LockMap):
    """non_block_start() and non_block_end(): a section that must not sleep."""

    atomic = True

    def __init__(self) -> None:
        super().__init__("a section that must not block", sleeps=False)


#: fs_reclaim_acquire(): held by reclaim; touched by what may allocate memory and so reclaim
FS_RECLAIM = LockMap("fs_reclaim")
#: __mmu_notifier_invalidate_range_start_map: held around notifier callbacks; touched by what waits for them
INVALIDATE_START = LockMap("mmu_notifier_invalidate_range_start")
#: non_block_start() and non_block_end()
NON_BLOCK = _NonBlock()
