"""The state machine of mmu notifiers: sequence, deferral, unwinding, SRCU."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from test_hmm_support import PAGE, ToyMm, invalidate, run, user_invalidate

from sw_model import mmu_notifier as mn
from sw_model.locking import KernelBug, Kref, Mutex, RwSem, SpinLock, UseAfterFree, current, kfree
from sw_model.sched import WaitQueue, point, sleep

SEEDS = range(60)


class Ops(mn.MmuIntervalNotifierOps):
    """Counts calls; may refuse what is not blockable; may wait for a gate."""

    def __init__(self, refuse: bool = False, gate: WaitQueue | None = None) -> None:
        self.refuse = refuse
        self.calls: list[mn.MmuNotifierRange] = []
        self.lock = Mutex("user")
        self.gate = gate
        self.open = gate is None

    async def invalidate(self, sub: Any, range_: Any, cur_seq: int) -> bool:
        if self.refuse and not range_.blockable:
            return False
        if range_.blockable:
            await self.lock.lock()
        elif not await self.lock.trylock():
            return False
        mn.mmu_interval_set_seq(sub, cur_seq)
        self.lock.unlock()
        self.calls.append(range_)
        if self.gate is not None:
            await self.gate.wait(lambda: self.open)
        return True


async def inserted(mm: ToyMm, ops: Ops, start: int = 0, length: int = 1 << 40) -> mn.MmuIntervalNotifier:
    sub = mn.MmuIntervalNotifier()
    assert await mn.mmu_interval_notifier_insert(sub, mm, start, length, ops) == 0
    return sub


def test_idle_section_is_valid() -> None:
    async def main() -> None:
        mm = ToyMm()
        ops = Ops()
        sub = await inserted(mm, ops)
        subs = mm.notifier_subscriptions
        assert subs.invalidate_seq == 2 and not subs.active_invalidate_ranges
        seq = await mn.mmu_interval_read_begin(sub)
        assert seq & 1 and not mn.mmu_interval_read_retry(sub, seq)
        await invalidate(mm)
        assert subs.invalidate_seq == 4 and not subs.active_invalidate_ranges
        assert mn.mmu_interval_read_retry(sub, seq)
        assert await mn.mmu_interval_check_retry(sub, seq)
        seq = await mn.mmu_interval_read_begin(sub)
        assert seq == 3 and not mn.mmu_interval_read_retry(sub, seq)
        await mn.mmu_interval_notifier_remove(sub)
        await mm.mmput()

    run(main())


def test_invalidation_elsewhere_leaves_the_sequence_even() -> None:
    async def main() -> None:
        mm = ToyMm()
        ops = Ops()
        sub = await inserted(mm, ops, 16 * PAGE, PAGE)
        seq = await mn.mmu_interval_read_begin(sub)
        rng = mn.MmuNotifierRange(mm, 0, 16 * PAGE, mn.MmuNotifyEvent.CLEAR)
        await mn.mmu_notifier_invalidate_range_start(rng)
        subs = mm.notifier_subscriptions
        assert subs.active_invalidate_ranges == 1 and subs.invalidate_seq == 2
        await mn.mmu_notifier_invalidate_range_end(rng)
        assert not ops.calls and not mn.mmu_interval_read_retry(sub, seq)
        await mn.mmu_interval_notifier_remove(sub)

    run(main())


def test_read_begin_waits_for_the_end() -> None:
    mm, ops, trace = ToyMm(), Ops(), []

    async def main() -> None:
        sub = await inserted(mm, ops)
        rng = mn.MmuNotifierRange(mm, 0, PAGE, mn.MmuNotifyEvent.CLEAR)
        await mn.mmu_notifier_invalidate_range_start(rng)
        assert mm.notifier_subscriptions.invalidate_seq == 3

        async def reader() -> None:
            seq = await mn.mmu_interval_read_begin(sub)
            trace.append("begun")
            assert not mn.mmu_interval_read_retry(sub, seq)

        t = (await current()).sched.spawn(reader(), "reader")
        for _ in range(50):
            await point("x")
        assert not trace
        trace.append("end")
        await mn.mmu_notifier_invalidate_range_end(rng)
        await t.join()

    run(main(), seed=3)
    assert trace == ["end", "begun"]


@pytest.mark.parametrize("overlap", [False, True])
def test_insert_during_an_invalidation(overlap: bool) -> None:
    """Even: inserted at once with an odd sequence. Odd: deferred to the end. Either way readers wait."""

    async def main() -> None:
        mm, ops = ToyMm(), Ops()
        first = await inserted(mm, ops, 0, PAGE)
        at = 0 if overlap else 8 * PAGE
        rng = mn.MmuNotifierRange(mm, at, at + PAGE, mn.MmuNotifyEvent.CLEAR)
        await mn.mmu_notifier_invalidate_range_start(rng)
        subs = mm.notifier_subscriptions
        assert subs.is_invalidating == overlap
        sub = await inserted(mm, ops, at, PAGE)
        assert sub.in_tree != overlap and sub.deferred == overlap
        assert subs.is_invalidating and sub.invalidate_seq == subs.invalidate_seq
        await mn.mmu_notifier_invalidate_range_end(rng)
        assert sub.in_tree and not sub.deferred and not subs.is_invalidating
        seq = await mn.mmu_interval_read_begin(sub)
        assert seq & 1 and not mn.mmu_interval_read_retry(sub, seq)
        for s in (first, sub):
            await mn.mmu_interval_notifier_remove(s)
        assert mm.mm_count == 1

    run(main())


def test_overlapping_invalidations_are_one_for_readers() -> None:
    """The sequence turns even, and readers go on, with the last end."""
    trace: list[str] = []

    async def main() -> None:
        mm, ops = ToyMm(), Ops()
        sub = await inserted(mm, ops, 0, 8 * PAGE)
        subs = mm.notifier_subscriptions
        rngs = [mn.MmuNotifierRange(mm, i * PAGE, (i + 1) * PAGE, mn.MmuNotifyEvent.CLEAR) for i in range(2)]
        for r in rngs:
            await mn.mmu_notifier_invalidate_range_start(r)
        assert subs.active_invalidate_ranges == 2 and subs.invalidate_seq == sub.invalidate_seq == 3

        async def reader() -> None:
            await mn.mmu_interval_read_begin(sub)
            trace.append("begun")

        t = (await current()).sched.spawn(reader(), "reader")
        for r in rngs:
            for _ in range(20):
                await point("x")
            trace.append("end")
            await mn.mmu_notifier_invalidate_range_end(r)
        await t.join()
        assert subs.invalidate_seq == 4
        await mn.mmu_interval_notifier_remove(sub)

    run(main(), seed=5)
    assert trace == ["end", "end", "begun"]


def test_an_insert_makes_readers_of_others_wait() -> None:
    """An invalidation that met nobody becomes one that holds readers back, of the new notifier only."""

    async def main() -> None:
        mm = ToyMm()
        old = await inserted(mm, Ops(), 16 * PAGE, PAGE)
        seq = await mn.mmu_interval_read_begin(old)
        rng = mn.MmuNotifierRange(mm, 0, PAGE, mn.MmuNotifyEvent.CLEAR)
        await mn.mmu_notifier_invalidate_range_start(rng)
        new = await inserted(mm, Ops(), 0, PAGE)
        # The old one has another stamp: its sections go on and begin.
        assert not mn.mmu_interval_read_retry(old, seq)
        assert await mn.mmu_interval_read_begin(old) == seq
        assert new.invalidate_seq == mm.notifier_subscriptions.invalidate_seq
        await mn.mmu_notifier_invalidate_range_end(rng)
        for sub in (old, new):
            await mn.mmu_interval_notifier_remove(sub)

    run(main())


def test_an_idle_insert_takes_a_past_odd_sequence() -> None:
    async def main() -> None:
        mm = ToyMm()
        for i in range(3):
            sub = await inserted(mm, Ops())
            assert sub.invalidate_seq == mm.notifier_subscriptions.invalidate_seq - 1 == 1 + 2 * i
            assert await mn.mmu_interval_read_begin(sub) == 1 + 2 * i
            await invalidate(mm)
            assert mn.mmu_interval_read_retry(sub, 1 + 2 * i)
            await mn.mmu_interval_notifier_remove(sub)

    run(main())


def test_interval_notifiers_come_first() -> None:
    """Nouveau depends on it. Everybody sees event, owner and range as the sender gave them."""
    seen: list[tuple[str, Any]] = []

    class Interval(Ops):
        async def invalidate(self, sub: Any, range_: Any, cur_seq: int) -> bool:
            seen.append(("interval", range_))
            return await super().invalidate(sub, range_, cur_seq)

    class Classic(ListOps):
        async def invalidate_range_start(self, sub: Any, range_: Any) -> int:
            seen.append(("classic", range_))
            return await super().invalidate_range_start(sub, range_)

    async def main() -> None:
        mm, owner = ToyMm(), object()
        n = mn.MmuNotifier(Classic())
        await mn.mmu_notifier_register(n, mm)
        sub = await inserted(mm, Interval())
        rng = mn.MmuNotifierRange(mm, 0, PAGE, mn.MmuNotifyEvent.MIGRATE, owner=owner)
        await mn.mmu_notifier_invalidate_range_start(rng)
        await mn.mmu_notifier_invalidate_range_end(rng)
        assert seen == [("interval", rng), ("classic", rng)] and rng.owner is owner
        await mn.mmu_interval_notifier_remove(sub)
        await mn.mmu_notifier_unregister(n, mm)

    run(main())


def test_a_start_that_fails_must_not_have_an_end() -> None:
    class Both(FailOps):
        async def invalidate_range_end(self, sub: Any, range_: Any) -> None:  # type: ignore[override]
            pass

    async def main() -> None:
        mm = ToyMm()
        await mn.mmu_notifier_register(mn.MmuNotifier(Both()), mm)
        await invalidate(mm, 0, PAGE, blockable=False)

    with pytest.raises(KernelBug, match="a start that fails cannot have an end"):
        run(main())


def test_only_mm_users_end_sections_after_release() -> None:
    """RELEASE is an invalidation like any other: a section that begins later is valid."""

    async def main() -> None:
        mm = ToyMm()
        sub = await inserted(mm, Ops())
        before = await mn.mmu_interval_read_begin(sub)
        await mm.mmput()
        assert mn.mmu_interval_read_retry(sub, before)
        after = await mn.mmu_interval_read_begin(sub)
        assert not mn.mmu_interval_read_retry(sub, after)
        assert not await mm.mmget_not_zero()
        await mn.mmu_interval_notifier_remove(sub)

    run(main())


@pytest.mark.parametrize(("passes", "ns"), [(1, 3000), (2, 1000)])
def test_two_passes_overlap_their_latency(passes: int, ns: int) -> None:
    """Three devices flush for 1000 ns each: one after the other, or all at once."""

    class Flush(mn.MmuIntervalNotifierFinish):
        def __init__(self, due: int) -> None:
            super().__init__()
            self.due = due

    class Device(mn.MmuIntervalNotifierOps):
        async def invalidate(self, sub: Any, range_: Any, seq: int) -> bool:
            mn.mmu_interval_set_seq(sub, seq)
            await sleep(1000)
            return True

        async def start(self, sub: Any, range_: Any, seq: int) -> Any:
            mn.mmu_interval_set_seq(sub, seq)
            return True, Flush((await current()).sched.clock.now() + 1000)

        async def invalidate_finish(self, final: Any) -> None:  # type: ignore[override]
            left = final.due - (await current()).sched.clock.now()
            if left > 0:
                await sleep(left)

    if passes == 2:
        Device.invalidate_start = Device.start  # type: ignore[method-assign, assignment]

    async def main() -> int:
        mm = ToyMm()
        subs = [await inserted(mm, Device(), 0, PAGE) for _ in range(3)]  # type: ignore[arg-type]
        clock = (await current()).sched.clock
        await invalidate(mm)
        took = clock.now()
        for sub in subs:
            await mn.mmu_interval_notifier_remove(sub)
        return took

    assert run(main()) == [ns]


def test_remove_cancels_a_deferred_insert() -> None:
    async def main() -> None:
        mm, ops = ToyMm(), Ops()
        first = await inserted(mm, ops)
        rng = mn.MmuNotifierRange(mm, 0, PAGE, mn.MmuNotifyEvent.CLEAR)
        await mn.mmu_notifier_invalidate_range_start(rng)
        sub = await inserted(mm, ops)
        await mn.mmu_interval_notifier_remove(sub)
        assert not sub.in_tree and not sub.deferred
        await mn.mmu_notifier_invalidate_range_end(rng)
        assert mm.notifier_subscriptions.itree == [first]
        await mn.mmu_interval_notifier_remove(first)

    run(main())


@pytest.mark.parametrize("seed", SEEDS)
def test_remove_waits_and_frees_safely(seed: int) -> None:
    """The node is freed right after remove() while other invalidations end."""

    async def main() -> None:
        mm = ToyMm()
        subs = [await inserted(mm, Ops(), i * PAGE, 2 * PAGE) for i in range(4)]

        async def remover(sub: Any) -> None:
            ops = sub.ops
            await mn.mmu_interval_notifier_remove(sub)
            kfree(sub)
            n = len(ops.calls)
            for _ in range(20):
                await point("x")
            assert len(ops.calls) == n

        sched = (await current()).sched
        ts = [sched.spawn(remover(s), "remover") for s in subs]
        ts += [sched.spawn(invalidate(mm, i * PAGE, (i + 3) * PAGE), "inv") for i in range(4)]
        for t in ts:
            await t.join()
        s = mm.notifier_subscriptions
        assert not s.itree and not s.deferred_list and not s.active_invalidate_ranges
        await mm.mmput()

    run(main(), seed=seed)


class ListOps(mn.MmuNotifierOps):
    """A classic notifier that cannot fail."""

    def __init__(self) -> None:
        self.depth = 0
        self.released = 0

    async def invalidate_range_start(self, sub: Any, range_: Any) -> int:  # type: ignore[override]
        self.depth += 1
        return 0

    async def invalidate_range_end(self, sub: Any, range_: Any) -> None:  # type: ignore[override]
        assert self.depth > 0
        self.depth -= 1

    async def release(self, sub: Any, mm: Any) -> None:  # type: ignore[override]
        self.released += 1


class FailOps(mn.MmuNotifierOps):
    """A classic notifier that never works without sleeping (nouveau)."""

    async def invalidate_range_start(self, sub: Any, range_: Any) -> int:  # type: ignore[override]
        return 0 if range_.blockable else -errno.EAGAIN


def test_nonblock_failure_of_a_list_notifier_unwinds_everything() -> None:
    """Notifiers that started get their end, and the interval side is ended as well."""

    async def main() -> None:
        mm, good, ops = ToyMm(), ListOps(), Ops()
        a, b = mn.MmuNotifier(good), mn.MmuNotifier(FailOps())
        for n in (a, b):
            await mn.mmu_notifier_register(n, mm)
        sub = await inserted(mm, ops)
        for _ in range(3):
            assert await invalidate(mm, 0, PAGE, blockable=False) == -errno.EAGAIN
        subs = mm.notifier_subscriptions
        assert not good.depth and not subs.active_invalidate_ranges and not subs.is_invalidating
        assert not subs.sections
        later = await inserted(mm, ops)
        await mn.mmu_interval_read_begin(later)
        assert await invalidate(mm, 0, PAGE) == 0
        for s in (sub, later):
            await mn.mmu_interval_notifier_remove(s)
        for n in (a, b):
            await mn.mmu_notifier_unregister(n, mm)
        assert good.released == 1 and mm.mm_count == 1
        await mm.mmput()

    run(main())


def test_nonblock_refusal_of_an_interval_notifier() -> None:
    async def main() -> None:
        mm, good, first, second = ToyMm(), ListOps(), Ops(), Ops(refuse=True)
        n = mn.MmuNotifier(good)
        await mn.mmu_notifier_register(n, mm)
        subs = [await inserted(mm, first, 0, PAGE), await inserted(mm, second, 0, PAGE)]
        assert await invalidate(mm, 0, PAGE, blockable=False) == -errno.EAGAIN
        s = mm.notifier_subscriptions
        assert not s.active_invalidate_ranges and not s.is_invalidating and not good.depth
        for sub in subs:
            await mn.mmu_interval_read_begin(sub)
            await mn.mmu_interval_notifier_remove(sub)
        await mn.mmu_notifier_unregister(n, mm)

    run(main())


def test_refusing_a_blockable_invalidation_is_a_bug() -> None:
    class Bad(Ops):
        async def invalidate(self, sub: Any, range_: Any, cur_seq: int) -> bool:
            return False

    async def main() -> None:
        mm = ToyMm()
        await inserted(mm, Bad())
        await invalidate(mm)

    with pytest.raises(KernelBug, match="refused"):
        run(main())


def test_end_without_start_is_a_bug() -> None:
    async def main() -> None:
        mm = ToyMm()
        await inserted(mm, Ops())
        await mn.mmu_notifier_invalidate_range_end(mn.MmuNotifierRange(mm, 0, 1, mn.MmuNotifyEvent.CLEAR))

    with pytest.raises(KernelBug, match="without start"):
        run(main())


class Two(mn.MmuIntervalNotifierOps):
    """Two passes; a notifier without a second one has `final` False. Notes who did what in `trace`."""

    def __init__(self, name: str, trace: list[str], final: bool = True, refuse: bool = False) -> None:
        self.name, self.trace, self.final, self.refuse = name, trace, final, refuse

    async def invalidate_start(self, sub: Any, range_: Any, seq: int) -> Any:  # type: ignore[override]
        if self.refuse and not range_.blockable:
            return False, mn.MmuIntervalNotifierFinish()
        mn.mmu_interval_set_seq(sub, seq)
        self.trace.append(f"start {self.name}")
        return True, mn.MmuIntervalNotifierFinish() if self.final else None

    async def invalidate_finish(self, final: Any) -> None:  # type: ignore[override]
        assert final.notifier.ops is self
        self.trace.append(f"finish {self.name}")


class One(Ops):
    """One pass."""

    def __init__(self, name: str, trace: list[str]) -> None:
        super().__init__()
        self.name, self.trace = name, trace

    async def invalidate(self, sub: Any, range_: Any, cur_seq: int) -> bool:
        self.trace.append(f"only {self.name}")
        return await super().invalidate(sub, range_, cur_seq)


@pytest.mark.parametrize("event", ["clear", "release"])
def test_two_passes(event: str) -> None:
    """Every notifier starts before the first one finishes; invalidate() where there are no two passes."""
    trace: list[str] = []

    async def main() -> None:
        mm = ToyMm()
        every = [Two("a", trace), One("b", trace), Two("c", trace, final=False), Two("d", trace)]
        subs = [await inserted(mm, ops, 0, PAGE) for ops in every]  # type: ignore[arg-type]
        seqs = [await mn.mmu_interval_read_begin(sub) for sub in subs]
        await mm.mmgrab()
        await (invalidate(mm) if event == "clear" else mm.mmput())
        assert all(mn.mmu_interval_read_retry(sub, seq) for sub, seq in zip(subs, seqs, strict=True))
        for sub in subs:
            await mn.mmu_interval_notifier_remove(sub)

    run(main())
    assert trace == ["start a", "only b", "start c", "start d", "finish a", "finish d"]


def test_a_first_pass_needs_a_second_one() -> None:
    class Half(mn.MmuIntervalNotifierOps):
        async def invalidate_start(self, sub: Any, range_: Any, seq: int) -> Any:  # type: ignore[override]
            return True, None

    async def main() -> None:
        await inserted(ToyMm(), Half())  # type: ignore[arg-type]

    with pytest.raises(KernelBug, match="a first pass without a second one"):
        run(main())


def test_two_passes_refused() -> None:
    """What has started is finished, who refused is not; nothing stays active, and no end is owed."""
    trace: list[str] = []

    async def main() -> None:
        mm = ToyMm()
        every = [Two("a", trace), Two("b", trace, refuse=True), Two("c", trace)]
        subs = [await inserted(mm, ops, 0, PAGE) for ops in every]  # type: ignore[arg-type]
        assert await invalidate(mm, 0, PAGE, blockable=False) == -errno.EAGAIN
        assert trace == ["start a", "finish a"]
        s = mm.notifier_subscriptions
        assert not s.active_invalidate_ranges and not s.is_invalidating and not s.sections
        for sub in subs:
            await mn.mmu_interval_read_begin(sub)
            await mn.mmu_interval_notifier_remove(sub)

    run(main())


@pytest.mark.parametrize("seed", SEEDS)
def test_sections_never_use_an_old_page(seed: int) -> None:
    """Readers that pass read_retry under the lock hold what the page table holds, whatever the order."""
    pte, device = {"pfn": 1}, {"pfn": 0}

    class Dev(mn.MmuIntervalNotifierOps):
        lock = Mutex("dev")

        async def invalidate(self, sub: Any, range_: Any, cur_seq: int) -> bool:
            async with self.lock:
                mn.mmu_interval_set_seq(sub, cur_seq)
                device["pfn"] = 0
            return True

    async def main() -> None:
        mm, ops = ToyMm(), Dev()
        sub = mn.MmuIntervalNotifier()
        await mn.mmu_interval_notifier_insert(sub, mm, 0, PAGE, ops)

        async def reader() -> None:
            for _ in range(3):
                while True:
                    seq = await mn.mmu_interval_read_begin(sub)
                    await point("pte")
                    seen = pte["pfn"]
                    await point("pte")
                    async with ops.lock:
                        if mn.mmu_interval_read_retry(sub, seq):
                            continue
                        device["pfn"] = seen
                        break

        async def writer() -> None:
            for _ in range(4):

                def change() -> None:
                    assert device["pfn"] == 0, "the device uses a page that goes away"
                    pte["pfn"] += 1

                await invalidate(mm, 0, PAGE, change)
                await point("x")
                assert device["pfn"] in (0, pte["pfn"])

        sched = (await current()).sched
        ts = [sched.spawn(c, "t") for c in (reader(), reader(), writer())]
        for t in ts:
            await t.join()
        assert device["pfn"] in (0, pte["pfn"])
        await mn.mmu_interval_notifier_remove(sub)

    run(main(), seed=seed)


def test_get_and_put_share_one_notifier() -> None:
    freed = []

    class Get(mn.MmuNotifierOps):
        async def alloc_notifier(self, mm: Any) -> Any:  # type: ignore[override]
            return mn.MmuNotifier()

        async def free_notifier(self, sub: Any) -> None:  # type: ignore[override]
            freed.append(sub)

    async def main() -> None:
        mm, ops = ToyMm(), Get()
        a = await mn.mmu_notifier_get(ops, mm)
        b = await mn.mmu_notifier_get(ops, mm)
        assert a is b and a.users == 2 and mm.mm_count == 2
        await mn.mmu_notifier_put(a)
        assert not freed
        await mn.mmu_notifier_put(a)
        await mn.mmu_notifier_synchronize(mm)
        assert freed == [a] and mm.mm_count == 1
        with pytest.raises(KernelBug):
            await mn.mmu_notifier_put(a)

    run(main())


@pytest.mark.parametrize("seed", SEEDS)
def test_put_frees_after_the_walkers(seed: int) -> None:
    """A notifier is freed while the list is walked: only a grace period makes that safe."""

    class Get(mn.MmuNotifierOps):
        async def alloc_notifier(self, mm: Any) -> Any:  # type: ignore[override]
            return mn.MmuNotifier()

        async def free_notifier(self, sub: Any) -> None:  # type: ignore[override]
            kfree(sub)

        async def invalidate_range_start(self, sub: Any, range_: Any) -> int:  # type: ignore[override]
            await point("callback")
            assert sub.ops is self
            return 0

    async def main() -> None:
        mm = ToyMm()
        nodes = [await mn.mmu_notifier_get(Get(), mm) for _ in range(3)]
        sched = (await current()).sched
        ts = [sched.spawn(mn.mmu_notifier_put(n), "put") for n in nodes]
        await mm.mmgrab()
        ts += [sched.spawn(user_invalidate(mm), "inv") for _ in range(2)]
        ts.append(sched.spawn(mm.mmput(), "exit"))
        for t in ts:
            await t.join()
        await mm.mmdrop()

    run(main(), seed=seed)


def test_register_waits_for_running_invalidations() -> None:
    """mm_take_all_locks(): a notifier never gets an end without a start, nor misses the PTE change."""
    ops, trace = ListOps(), []

    async def main() -> None:
        mm = ToyMm()
        rng = mn.MmuNotifierRange(mm, 0, PAGE, mn.MmuNotifyEvent.CLEAR)
        await mn.mmu_notifier_invalidate_range_start(rng)
        n = mn.MmuNotifier(ops)

        async def register() -> None:
            await mn.mmu_notifier_register(n, mm)
            trace.append("registered")

        t = (await current()).sched.spawn(register(), "register")
        for _ in range(20):
            await point("x")
        trace.append("end")
        await mn.mmu_notifier_invalidate_range_end(rng)
        await t.join()
        await mn.mmu_notifier_unregister(n, mm)

    run(main(), seed=1)
    assert trace == ["end", "registered"] and not ops.depth


def test_release_tells_everybody_once() -> None:
    async def main() -> None:
        mm, lops, iops = ToyMm(), ListOps(), Ops()
        n = mn.MmuNotifier(lops)
        await mn.mmu_notifier_register(n, mm)
        sub = await inserted(mm, iops)
        await mm.mmput()
        assert lops.released == 1 and iops.calls[0].event == mn.MmuNotifyEvent.RELEASE
        assert not mm.notifier_subscriptions.is_invalidating and not n.hashed
        await mn.mmu_notifier_unregister(n, mm)
        assert lops.released == 1
        await mn.mmu_interval_notifier_remove(sub)
        with pytest.raises(UseAfterFree):
            _ = mm.mm_count

    run(main())


def test_bad_intervals() -> None:
    async def main() -> None:
        mm, sub = ToyMm(), mn.MmuIntervalNotifier()
        assert await mn.mmu_interval_notifier_insert(sub, mm, 0, 0, Ops()) == -errno.EOVERFLOW
        assert await mn.mmu_interval_notifier_insert(sub, mm, 2, (1 << 64) - 1, Ops()) == -errno.EOVERFLOW
        await mm.mmgrab()
        await mm.mmput()
        assert await mn.mmu_interval_notifier_insert(sub, mm, 0, 1, Ops()) == -errno.EINVAL

    run(main())


def test_misuse_of_locks_raises() -> None:
    async def unlock(lock: Any) -> None:
        lock.unlock()

    async def up(sem: RwSem) -> None:
        sem.up_read()

    async def kref() -> None:
        k = Kref(1, "k")
        assert await k.put()
        assert not await k.get_unless_zero()
        for op in (k.get, k.put):
            with pytest.raises(KernelBug):
                await op()

    for bad in (unlock(Mutex()), unlock(SpinLock()), up(RwSem())):
        with pytest.raises(KernelBug):
            run(bad)
    run(kref())

    class Thing:
        x = 1

    thing = Thing()
    kfree(thing)
    with pytest.raises(UseAfterFree):
        _ = thing.x
    with pytest.raises(UseAfterFree):
        thing.x = 2
    with pytest.raises(UseAfterFree):
        kfree(thing)


@pytest.mark.parametrize("seed", range(20))
def test_rwsem_excludes(seed: int) -> None:
    sem, state = RwSem("s"), {"r": 0, "w": 0}

    async def reader() -> None:
        for _ in range(5):
            async with sem.read():
                state["r"] += 1
                await point("x")
                assert not state["w"]
                state["r"] -= 1

    async def writer() -> None:
        for _ in range(5):
            async with sem.write():
                state["w"] += 1
                await point("x")
                assert state == {"r": 0, "w": 1}
                state["w"] -= 1

    run(reader(), reader(), writer(), writer(), seed=seed)
