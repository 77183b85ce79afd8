"""The lock validator: planted misuse is reported in schedules that do not hang, correct nesting is not."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest
from test_hmm_support import PAGE, ToyMm, invalidate, run

from sw_model import mmu_notifier as mn
from sw_model.locking import KernelBug, Kref, Mutex, RwSem, SpinLock, Srcu, UseAfterFree, kfree
from sw_model.mm import MmStruct
from sw_model.phys import PhysMem
from sw_model.sched import WaitQueue, point, sleep

Main = Callable[[], Coroutine[Any, Any, None]]


async def nest(*locks: Any) -> None:
    """Take locks in this order and release them."""
    for x in locks:
        await x.__aenter__()
    await point("inside")
    for x in reversed(locks):
        await x.__aexit__()


def a_b_b_a() -> Coroutine[Any, Any, None]:
    a, b = Mutex("a"), Mutex("b")

    async def main() -> None:
        await nest(a, b)
        await nest(b, a)

    return main()


def spinning() -> Coroutine[Any, Any, None]:
    a, b = SpinLock("a"), SpinLock("b")

    async def main() -> None:
        await nest(a, b)
        await nest(b, a)

    return main()


def three() -> Coroutine[Any, Any, None]:
    a, b, c = Mutex("a"), Mutex("b"), SpinLock("c")

    async def main() -> None:
        await nest(a, b)
        await nest(b, c)
        await c.lock()
        if await a.trylock():  # makes no edge
            a.unlock()
        c.unlock()
        d = SpinLock("d")
        await nest(c, d)
        await nest(d, c)

    return main()


def circle() -> Coroutine[Any, Any, None]:
    a, b, c = Mutex("a"), Mutex("b"), Mutex("c")

    async def main() -> None:
        await nest(a, b)
        await nest(b, c)
        await nest(c, a)

    return main()


def readers() -> Coroutine[Any, Any, None]:
    sem, m = RwSem("sem"), Mutex("m")

    async def main() -> None:
        await nest(sem.read(), m)
        await nest(m, sem.read())

    return main()


def behind_trylock() -> Coroutine[Any, Any, None]:
    a, b = Mutex("a"), Mutex("b")

    async def main() -> None:
        await nest(a, b)
        assert await b.trylock()
        await nest(a)

    return main()


def instances() -> Coroutine[Any, Any, None]:
    """Two locks of one class, in two processes."""
    return nest(Mutex("p.m"), Mutex("q.m"))


def twice() -> Coroutine[Any, Any, None]:
    a = SpinLock("a")
    return nest(a, a)


def read_twice() -> Coroutine[Any, Any, None]:
    sem = RwSem("sem")
    return nest(sem.read(), sem.read())


def mutex_under_spinlock() -> Coroutine[Any, Any, None]:
    return nest(SpinLock("s"), Mutex("m"))


def wait_under_spinlock() -> Coroutine[Any, Any, None]:
    async def main() -> None:
        async with SpinLock("s"):
            await WaitQueue("wq").wait(lambda: True)

    return main()


def sleep_under_spinlock() -> Coroutine[Any, Any, None]:
    async def main() -> None:
        async with SpinLock("s"):
            await sleep(1)

    return main()


def grace_period_in_reader() -> Coroutine[Any, Any, None]:
    srcu = Srcu()

    async def main() -> None:
        await srcu.read_lock()
        await srcu.synchronize()

    return main()


def grace_period_under_a_readers_lock() -> Coroutine[Any, Any, None]:
    srcu, m = Srcu(), Mutex("m")

    async def main() -> None:
        token = await srcu.read_lock()
        await nest(m)
        srcu.read_unlock(token)
        async with m:
            await srcu.synchronize()

    return main()


def never_released() -> Coroutine[Any, Any, None]:
    return Mutex("m").lock()


def other_thread() -> Coroutine[Any, Any, None]:
    m = Mutex("m")

    async def main() -> None:
        m.held = True
        m.unlock()

    return main()


def freed_while_held() -> Coroutine[Any, Any, None]:
    class Thing:
        def __init__(self) -> None:
            self.lock = Mutex("m")

    async def main() -> None:
        thing = Thing()
        await thing.lock.lock()
        kfree(thing)

    return main()


def allocates_under_spinlock() -> Coroutine[Any, Any, None]:
    phys = PhysMem(np.zeros(16 * PAGE, np.uint8))

    async def main() -> None:
        async with SpinLock("s"):
            await phys.alloc_page()

    return main()


PLANTED: dict[Main, str] = {
    a_b_b_a: "lock order: t0 takes a holding b; t0 took b holding a",
    spinning: "lock order: t0 takes a holding b; t0 took b holding a",
    three: "lock order: t0 takes c holding d; t0 took d holding c",
    circle: "lock order: t0 takes a holding c; t0 took b holding a; t0 took c holding b",
    readers: "lock order: t0 takes sem holding m; t0 took m holding sem",
    behind_trylock: "lock order: t0 takes a holding b; t0 took b holding a",
    instances: "lock order: t0 takes q.m holding p.m of the same class",
    twice: "lock order: t0 takes a twice",
    read_twice: "lock order: t0 takes sem twice",
    mutex_under_spinlock: "t0 may sleep for m holding s",
    wait_under_spinlock: "t0 may sleep for wq holding s",
    sleep_under_spinlock: "t0 may sleep for a timeout holding s",
    grace_period_in_reader: "lock order: t0 takes srcu twice",
    grace_period_under_a_readers_lock: "lock order: t0 takes srcu holding m; t0 took m holding srcu",
    never_released: "t0 ends holding m",
    other_thread: "t0 releases m and does not hold it",
    freed_while_held: "t0 frees a Thing and holds its lock",
    allocates_under_spinlock: "t0 may sleep for fs_reclaim holding s",
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda f: f.__name__)
def test_planted(plant: Main) -> None:
    """One thread alone: no schedule of it hangs, but for the lock taken twice."""
    with pytest.raises(KernelBug) as e:
        run(plant())
    assert str(e.value) == PLANTED[plant]


def test_an_inversion_of_two_threads_names_both() -> None:
    a, b = Mutex("a"), Mutex("b")

    async def first() -> None:
        for _ in range(20):
            await point("later")
        await nest(a, b)

    with pytest.raises(KernelBug, match="lock order: t0 takes b holding a; t1 took a holding b"):
        run(first(), nest(b, a), seed=1)


def test_what_is_allowed() -> None:
    """The same order again, nested instances, SRCU readers in each other, a spinlock that is fought for."""
    a, b, s, r = Mutex("a"), Mutex("b"), SpinLock("s"), SpinLock("r")
    p, q, srcu = RwSem("p.sem"), RwSem("q.sem"), Srcu()

    async def work() -> None:
        for _ in range(3):
            await nest(a, b, s, r)
            await p.down_write()
            await q.down_write(nested=True)
            p.up_write()
            q.up_write()
            one, two = await srcu.read_lock(), await srcu.read_lock()
            srcu.read_unlock(one)
            srcu.read_unlock(two)
            await srcu.synchronize()

    for seed in range(10):
        run(work(), work(), seed=seed)


def test_every_run_has_an_order_of_its_own() -> None:
    a, b = Mutex("a"), Mutex("b")
    run(nest(a, b))
    run(nest(b, a))


# ---- what waits for notifier callbacks -------------------------------------------------------------------


class Locking(mn.MmuIntervalNotifierOps):
    """A driver whose callback takes its lock, and maybe allocates or takes mmap_lock."""

    def __init__(self) -> None:
        self.lock = Mutex("driver")
        self.phys: PhysMem | None = None
        self.mm: Any = None

    async def invalidate(self, sub: Any, range_: Any, cur_seq: int) -> bool:
        async with self.lock:
            mn.mmu_interval_set_seq(sub, cur_seq)
        if self.phys is not None:
            await self.phys.alloc_page()
        if self.mm is not None:
            await nest(self.mm.mmap_lock.read())
        return True


MAP = "mmu_notifier_invalidate_range_start"


@pytest.mark.parametrize("wait", ["begin", "remove"])
def test_waiting_for_callbacks_with_their_lock(wait: str) -> None:
    """Nothing is invalidated meanwhile: the wait would be short, and the report comes all the same."""

    async def main() -> None:
        mm, ops, sub = ToyMm(), Locking(), mn.MmuIntervalNotifier()
        await mn.mmu_interval_notifier_insert(sub, mm, 0, PAGE, ops)
        await invalidate(mm, 0, PAGE)
        async with ops.lock:
            if wait == "begin":
                await mn.mmu_interval_read_begin(sub)
            else:
                await mn.mmu_interval_notifier_remove(sub)

    with pytest.raises(KernelBug, match=f"takes {MAP} holding driver; t0 took driver holding {MAP}"):
        run(main())


def test_a_callback_must_not_allocate() -> None:
    async def main() -> None:
        mm, ops, sub = ToyMm(), Locking(), mn.MmuIntervalNotifier()
        ops.phys = PhysMem(np.zeros(16 * PAGE, np.uint8))
        await mn.mmu_interval_notifier_insert(sub, mm, 0, PAGE, ops)
        await invalidate(mm, 0, PAGE)

    with pytest.raises(KernelBug, match=f"takes fs_reclaim holding {MAP}; reclaim took {MAP} "):
        run(main())


def test_a_callback_must_not_take_mmap_lock() -> None:
    """munmap() holds it around the callbacks, also where this invalidation did not."""

    async def main() -> None:
        mm, ops, sub = ToyMm(), Locking(), mn.MmuIntervalNotifier()
        await mn.mmu_interval_notifier_insert(sub, mm, 0, PAGE, ops)
        async with mm.mmap_lock.write():
            await invalidate(mm, 0, PAGE)
        ops.mm = mm
        await invalidate(mm, 0, PAGE)

    with pytest.raises(KernelBug, match=f"takes mmap holding {MAP}; t0 took {MAP} holding mmap"):
        run(main())


def test_a_lock_held_around_an_allocation_must_not_be_a_callbacks() -> None:
    async def main() -> None:
        mm, ops, sub = ToyMm(), Locking(), mn.MmuIntervalNotifier()
        phys = PhysMem(np.zeros(16 * PAGE, np.uint8))
        await mn.mmu_interval_notifier_insert(sub, mm, 0, PAGE, ops)
        await invalidate(mm, 0, PAGE)
        async with ops.lock:
            await phys.alloc_page()

    with pytest.raises(KernelBug, match="takes fs_reclaim holding driver; "):
        run(main())


@pytest.mark.parametrize("kind", ["interval", "classic"])
def test_a_callback_that_must_not_block_sleeps(kind: str) -> None:
    lock = Mutex("driver")

    class Interval(mn.MmuIntervalNotifierOps):
        async def invalidate(self, sub: Any, range_: Any, cur_seq: int) -> bool:
            await nest(lock)
            return True

    class Classic(mn.MmuNotifierOps):
        async def invalidate_range_start(self, sub: Any, range_: Any) -> int:  # type: ignore[override]
            await nest(lock)
            return 0

    async def main() -> None:
        mm = ToyMm()
        if kind == "interval":
            await mn.mmu_interval_notifier_insert(mn.MmuIntervalNotifier(), mm, 0, PAGE, Interval())
        else:
            await mn.mmu_notifier_register(mn.MmuNotifier(Classic()), mm)
        assert await invalidate(mm, 0, PAGE) == 0
        await invalidate(mm, 0, PAGE, blockable=False)

    with pytest.raises(KernelBug, match="may sleep for driver holding a section that must not block"):
        run(main())


# ---- use after free --------------------------------------------------------------------------------------


def test_what_is_embedded_is_freed_too() -> None:
    class Thing:
        def __init__(self) -> None:
            self.lock, self.sem = Mutex("m"), RwSem("s")
            self.wq, self.kref = WaitQueue("w"), Kref()

    thing = Thing()
    parts = [thing.lock.unlock, thing.sem.up_read, thing.wq.wake_all, thing.kref.read]
    kfree(thing)
    for use in parts:
        with pytest.raises(UseAfterFree, match="of a freed Thing"):
            use()


def test_mm_and_subscriptions_after_the_last_drop() -> None:
    async def main() -> None:
        mm = MmStruct(PhysMem(np.zeros(16 * PAGE, np.uint8)))
        sub = mn.MmuIntervalNotifier()
        await mn.mmu_interval_notifier_insert(sub, mm, 0, PAGE, Locking())
        subs = mm.notifier_subscriptions
        await mm.exit()
        assert mm.mm_count == 1
        await mn.mmu_interval_notifier_remove(sub)
        with pytest.raises(UseAfterFree, match="mm_count of a freed MmStruct"):
            _ = mm.mm_count
        with pytest.raises(UseAfterFree, match="NotifierSubscriptions"):
            _ = subs.invalidate_seq

    run(main())
