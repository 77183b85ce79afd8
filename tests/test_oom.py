"""The OOM reaper: what it drops, what it leaves, and that a refusal leaves no trace."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from mm_helpers import PAGE, RW, Machine, filled

from sw_model import mmu_notifier as mn
from sw_model.mm import MAP_ANONYMOUS, MAP_SHARED, MmStruct, PteKind
from sw_model.oom import oom_reap_task_mm, zap_vma_for_reaping
from sw_model.sched import point

N = 8
PRIVATE, REFUSED = 0x4000_0000, 0x5000_0000


class Interval(mn.MmuIntervalNotifierOps):
    """Refuses what must not block in [REFUSED, REFUSED + N pages)."""

    async def invalidate(self, sub: Any, range_: Any, cur_seq: int) -> bool:
        if not range_.blockable and range_.start < REFUSED + N * PAGE and range_.end > REFUSED:
            return False
        mn.mmu_interval_set_seq(sub, cur_seq)
        return True


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_reaper(seed: int | None) -> None:
    """Private memory goes, shared and refused memory stays; the process reads zeroes, then exits."""
    m = Machine(seed=seed)

    async def main() -> None:
        mm = MmStruct(m.phys)
        await m.rec.watch(mm)
        await filled(mm, N * PAGE, addr=PRIVATE)
        _, kept = await filled(mm, N * PAGE, addr=REFUSED)
        shared = await mm.mmap(0, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS)
        await mm.store(shared, b"shared")
        sub = mn.MmuIntervalNotifier()
        assert await mn.mmu_interval_notifier_insert(sub, mm, 0, 1 << 47, Interval()) == 0
        seq = await mn.mmu_interval_read_begin(sub)
        m.rec.events.clear()

        assert not await oom_reap_task_mm(mm), "one area was refused"
        assert m.rec.events == [("CLEAR", PRIVATE, PRIVATE + N * PAGE)]
        assert mn.mmu_interval_read_retry(sub, seq)
        assert mm.pte(PRIVATE).kind is PteKind.NONE and mm.pte(REFUSED).kind is PteKind.PRESENT
        assert await mm.load(PRIVATE, PAGE) == bytes(PAGE)
        assert await mm.load(REFUSED, N * PAGE) == bytes(kept)
        assert await mm.load(shared, 6) == b"shared"

        async with mm.mmap_lock.read():
            vma = mm.vma_lookup(REFUSED)
            assert vma is not None and await zap_vma_for_reaping(vma) == -errno.EAGAIN
        subs = mm.notifier_subscriptions
        assert not subs.active_invalidate_ranges and not subs.is_invalidating and not subs.sections
        await mn.mmu_interval_notifier_remove(sub)
        assert await oom_reap_task_mm(mm)
        assert await mm.load(REFUSED, N * PAGE) == bytes(N * PAGE)
        await m.finish(mm)

    m.run(main)


def test_the_reaper_gives_up_on_a_lock_that_is_taken() -> None:
    m = Machine(seed=1)

    async def main() -> None:
        mm = MmStruct(m.phys)
        await filled(mm, PAGE, addr=PRIVATE)
        done: list[bool] = []

        async def writer() -> None:
            async with mm.mmap_lock.write():
                while not done:
                    await point("busy")

        t = m.sched.spawn(writer(), "writer")
        while not mm.mmap_lock.writer:
            await point("wait")
        assert not await oom_reap_task_mm(mm)
        done.append(True)
        await t.join()
        assert await oom_reap_task_mm(mm)
        await m.finish(mm)

    m.run(main)


@pytest.mark.parametrize("seed", range(4))
def test_reaper_against_stores(seed: int) -> None:
    """A page is either what was stored, or zero."""
    m = Machine(seed=seed)

    async def main() -> None:
        mm = MmStruct(m.phys)
        await m.rec.watch(mm)
        a, _ = await filled(mm, N * PAGE, addr=PRIVATE)

        async def stores() -> None:
            for i in range(N):
                await mm.store(a + i * PAGE, b"new" * 100)
                assert await mm.load(a + i * PAGE, 3) in (b"new", bytes(3))

        t = m.sched.spawn(stores(), "stores")
        for _ in range(3):
            assert await oom_reap_task_mm(mm)
        await t.join()
        await m.finish(mm)

    m.run(main)
