"""Kernel locks, reference counts and SRCU over `sw_model.sched`, with misuse turned into exceptions.

Taking is `async` (another CPU may run before it, and it may sleep); releasing is a plain call that never
switches: `await lock.lock()` ... `lock.unlock()`, or `async with lock`. Everything that another thread
can observe has a `point` before it. The lock validator (`lockdep`) watches every lock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from sw_model import lockdep, sched
from sw_model.sched import KernelBug, SpinQueue, Thread, WaitQueue, point


class UseAfterFree(KernelBug):
    """An object was touched after kfree(), or freed twice (KASAN)."""


def warn_on(condition: object, text: str) -> None:
    """WARN_ON(): raise KernelBug(text) when the condition is true."""
    if condition:
        raise KernelBug(text)


class _Poisoned:
    """What an object becomes when it is freed."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            return _Poisoned
        raise UseAfterFree(f"read of .{name} of a freed {_freed_name(self)}")

    def __setattr__(self, name: str, value: object) -> None:
        raise UseAfterFree(f"write of .{name} of a freed {_freed_name(self)}")

    def __delattr__(self, name: str) -> None:
        raise UseAfterFree(f"write of .{name} of a freed {_freed_name(self)}")

    def __repr__(self) -> str:
        return f"<freed {_freed_name(self)}>"


def _freed_name(obj: object) -> str:
    return object.__getattribute__(obj, "__dict__").get("_freed_name", "object")


def kfree(obj: object) -> None:
    """kfree(): from now on any access to an attribute of `obj` raises UseAfterFree, and so does kfree().

    For objects of a plain class (with a `__dict__`). Its locks, wait queues and counts are part of it.
    Raises KernelBug when the running thread holds one of them.
    """
    if isinstance(obj, _Poisoned):
        raise UseAfterFree(f"double free of a {_freed_name(obj)}")
    name = type(obj).__name__
    thread = sched.running
    for field, value in obj.__dict__.items():
        if isinstance(value, _EMBEDDED):
            if thread is not None and value in thread.locks:
                raise KernelBug(f"{thread.name} frees a {name} and holds its {field}")
            _poison(value, f"{name}.{field}")
    _poison(obj, name)


def _poison(obj: object, name: str) -> None:
    obj.__dict__["_freed_name"] = name
    object.__setattr__(obj, "__class__", _Poisoned)


def is_freed(obj: object) -> bool:
    """True after kfree(obj)."""
    return isinstance(obj, _Poisoned)


async def current() -> Thread:
    """The running thread (current); a place where the scheduler may switch."""
    await point("current")
    assert sched.running is not None
    return sched.running


class Mutex:
    """struct mutex. `async with mutex:` or lock()/trylock()/unlock()."""

    kind = "mutex"
    #: taking it may sleep; holding it forbids sleeping
    sleeps, atomic = True, False
    _queue: type[WaitQueue] = WaitQueue

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.held = False
        self._wq = self._queue(name or self.kind)

    async def lock(self, nested: bool = False) -> None:
        """mutex_lock()/spin_lock(): sleeps (spins) until free. `nested`: another of its class may be held."""
        t = sched.running
        if t is not None and t.locks:
            lockdep.taking(t, self, nested)
        await point("lock", self)
        while self.held:
            await self._wq.wait(self._free)
        self.held = True
        if t is not None:
            t.locks.append(self)

    async def trylock(self) -> bool:
        """mutex_trylock(): True when the lock was free and is now held."""
        await point("lock", self)
        if self.held:
            return False
        self.held = True
        if sched.running is not None:
            sched.running.locks.append(self)
        return True

    def unlock(self) -> None:
        """mutex_unlock(). Raises KernelBug when not held, or by another thread."""
        if not self.held:
            raise KernelBug(f"unlock of {self.kind} {self.name!r} that is not held")
        self.held = False
        t = sched.running
        if t is not None:
            if t.locks and t.locks[-1] is self:
                t.locks.pop()
            else:
                lockdep.released(t, self)
        if self._wq.waiters:
            self._wq.wake_all()

    def assert_held(self) -> None:
        """lockdep_assert_held()."""
        warn_on(not self.held, f"{self.kind} {self.name!r} is not held")

    def _free(self) -> bool:
        return not self.held

    async def __aenter__(self) -> None:
        await self.lock()

    async def __aexit__(self, *exc: object) -> None:
        self.unlock()

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}{' held' if self.held else ''}>"


class SpinLock(Mutex):
    """spinlock_t. The holder must not sleep."""

    kind = "spinlock"
    sleeps, atomic = False, True
    _queue = SpinQueue


class _Reader:
    def __init__(self, sem: RwSem) -> None:
        self.sem = sem

    async def __aenter__(self) -> None:
        await self.sem.down_read()

    async def __aexit__(self, *exc: object) -> None:
        self.sem.up_read()


class _Writer:
    def __init__(self, sem: RwSem) -> None:
        self.sem = sem

    async def __aenter__(self) -> None:
        await self.sem.down_write()

    async def __aexit__(self, *exc: object) -> None:
        self.sem.up_write()


class RwSem:
    """struct rw_semaphore. A waiting writer holds back new readers, so a nested down_read() may deadlock."""

    sleeps, atomic = True, False

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.readers = 0
        self.writer = False
        self.waiting_writers = 0
        self._wq = WaitQueue(name or "rwsem")
        self._read = _Reader(self)
        self._write = _Writer(self)

    def read(self) -> _Reader:
        """`async with sem.read():` holds it shared."""
        return self._read

    def write(self) -> _Writer:
        """`async with sem.write():` holds it exclusively."""
        return self._write

    def _read_free(self) -> bool:
        return not self.writer and not self.waiting_writers

    def _write_free(self) -> bool:
        return not self.writer and not self.readers

    async def down_read(self) -> None:
        """down_read(): sleeps while a writer holds it or waits for it."""
        t = sched.running
        if t is not None and t.locks:
            lockdep.taking(t, self)
        await point("lock", self)
        while not self._read_free():
            await self._wq.wait(self._read_free)
        self.readers += 1
        if t is not None:
            t.locks.append(self)

    async def down_read_trylock(self) -> bool:
        """down_read_trylock(): True when it is now held shared."""
        await point("lock", self)
        if self.writer:
            return False
        self.readers += 1
        if sched.running is not None:
            sched.running.locks.append(self)
        return True

    def up_read(self) -> None:
        """up_read(). Raises KernelBug when not held shared."""
        warn_on(self.readers <= 0, f"up_read of {self.name!r} that is not held")
        self.readers -= 1
        t = sched.running
        if t is not None:
            if t.locks and t.locks[-1] is self:
                t.locks.pop()
            else:
                lockdep.released(t, self)
        self._wake()

    async def down_write(self, nested: bool = False) -> None:
        """down_write(): sleeps until nobody holds it. `nested`: another of its class may be held."""
        t = sched.running
        if t is not None and t.locks:
            lockdep.taking(t, self, nested)
        await point("lock", self)
        if not self._write_free():
            self.waiting_writers += 1
            try:
                while not self._write_free():
                    await self._wq.wait(self._write_free)
            finally:
                self.waiting_writers -= 1
        self.writer = True
        if t is not None:
            t.locks.append(self)

    async def down_write_trylock(self) -> bool:
        """down_write_trylock(): True when it is now held exclusively."""
        await point("lock", self)
        if not self._write_free():
            return False
        self.writer = True
        if sched.running is not None:
            sched.running.locks.append(self)
        return True

    def up_write(self) -> None:
        """up_write(). Raises KernelBug when not held exclusively."""
        warn_on(not self.writer, f"up_write of {self.name!r} that is not held")
        self.writer = False
        if sched.running is not None:
            lockdep.released(sched.running, self)
        self._wake()

    def downgrade_write(self) -> None:
        """downgrade_write(): from exclusive to shared without a gap."""
        warn_on(not self.writer, f"downgrade_write of {self.name!r} that is not held")
        self.writer = False
        self.readers += 1
        self._wake()

    def assert_write_held(self) -> None:
        """rwsem_assert_held_write() (mmap_assert_write_locked)."""
        warn_on(not self.writer, f"{self.name!r} is not held for writing")

    def assert_held(self) -> None:
        """rwsem_assert_held() (mmap_assert_locked)."""
        warn_on(not self.writer and not self.readers, f"{self.name!r} is not held")

    def _wake(self) -> None:
        if self._wq.waiters:
            self._wq.wake_all()

    def __repr__(self) -> str:
        state = " write" if self.writer else f" read*{self.readers}" if self.readers else ""
        return f"<rwsem {self.name}{state}>"


class Kref:
    """struct kref / atomic reference count. Starts at `value`; raises KernelBug on misuse."""

    def __init__(self, value: int = 1, name: str = "") -> None:
        self.value = value
        self.name = name

    def read(self) -> int:
        """kref_read(): the present count."""
        return self.value

    async def get(self) -> None:
        """kref_get(): one more. Raises KernelBug when the count is 0 (the object is going away)."""
        await point("kref", self)
        warn_on(self.value <= 0, f"kref_get of {self.name!r} from {self.value}")
        self.value += 1

    async def get_unless_zero(self) -> bool:
        """kref_get_unless_zero(): True when one more was taken, False when the count is 0."""
        await point("kref", self)
        if self.value <= 0:
            return False
        self.value += 1
        return True

    async def put(self) -> bool:
        """kref_put(): one less; True when it dropped to 0 and the caller must free. KernelBug below 0."""
        await point("kref", self)
        warn_on(self.value <= 0, f"kref_put of {self.name!r} from {self.value} (underflow)")
        self.value -= 1
        return self.value == 0

    def __repr__(self) -> str:
        return f"<kref {self.name} {self.value}>"


#: what is part of the object that holds it
_EMBEDDED = (Mutex, RwSem, Kref, WaitQueue)

_Delayed = tuple[set[int], Callable[[], Awaitable[None]], Thread]


class Srcu:
    """struct srcu_struct: readers, grace periods and delayed callbacks.

    A callback runs in a thread of its own as soon as its grace period allows (the earliest legal moment);
    the scheduler decides when that thread gets on.
    """

    sleeps, atomic = False, False

    def __init__(self, name: str = "srcu") -> None:
        self.name = name
        self._next = 0
        self._active: set[int] = set()
        self._delayed: list[_Delayed] = []
        self._pending = 0
        self._wq = WaitQueue(name)

    async def read_lock(self) -> int:
        """srcu_read_lock(): a token for read_unlock()."""
        t = sched.running
        if t is not None:
            if t.locks and self not in t.locks:
                lockdep.taking(t, self, nested=True)
            t.locks.append(self)
        await point("srcu", self)
        self._next += 1
        self._active.add(self._next)
        return self._next

    def read_unlock(self, token: int) -> None:
        """srcu_read_unlock(). Raises KernelBug for a token that is not held."""
        warn_on(token not in self._active, f"srcu_read_unlock of {self.name!r} without lock")
        if sched.running is not None:
            lockdep.released(sched.running, self)
        self._active.discard(token)
        if self._delayed:
            ready: list[_Delayed] = []
            rest: list[_Delayed] = []
            for entry in self._delayed:
                entry[0].discard(token)
                (rest if entry[0] else ready).append(entry)
            self._delayed = rest
            for _, callback, thread in ready:
                self._start(callback, thread)
        if self._wq.waiters:
            self._wq.wake_all()

    async def synchronize(self) -> None:
        """synchronize_srcu(): sleeps until every reader that was inside has left; KernelBug in a reader."""
        if sched.running is not None and sched.running.locks:
            lockdep.taking(sched.running, self)
        await point("srcu", self)
        before = set(self._active)
        while before & self._active:
            await self._wq.wait(lambda: not before & self._active)

    async def call(self, callback: Callable[[], Awaitable[None]]) -> None:
        """call_srcu(): run the coroutine function after a grace period. Does not sleep."""
        thread = await current()
        self._pending += 1
        if self._active:
            self._delayed.append((set(self._active), callback, thread))
        else:
            self._start(callback, thread)

    async def barrier(self) -> None:
        """srcu_barrier(): sleeps until every callback posted before has run."""
        await point("srcu", self)
        while self._pending:
            await self._wq.wait(lambda: not self._pending)

    def _start(self, callback: Callable[[], Awaitable[None]], thread: Thread) -> None:
        async def run() -> None:
            try:
                await callback()
            finally:
                self._pending -= 1
                self._wq.wake_all()

        thread.sched.spawn(run(), f"{self.name}-callback")
