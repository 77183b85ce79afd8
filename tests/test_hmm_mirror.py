"""Lifetimes of the mirror API: each known bug of the patch, as a race that the code must survive.

B.. and F.. are the numbers of docs/catalogue.md and docs/generations.md. Where it is cheap the
bug is also put back, to show that the test would see it.
"""

from __future__ import annotations

import errno
from typing import Any

import pytest
from test_hmm_support import (
    PAGE,
    VM_READ,
    VM_WRITE,
    ToyMm,
    ToyPte,
    invalidate,
    must_catch,
    run,
    user_invalidate,
)

from sw_model import hmm_mirror as hm
from sw_model.hmm import HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE, HMM_PFN_VALID, HMM_PFN_WRITE
from sw_model.locking import KernelBug, Mutex, current, is_freed, kfree
from sw_model.mmu_notifier import (
    MmuNotifierRange,
    MmuNotifyEvent,
    mmu_notifier_invalidate_range_start,
    mmu_notifier_synchronize,
)
from sw_model.pagetable import PteKind
from sw_model.sched import point

BASE = 0x10_0000
SEEDS = range(80)
REQ = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE


class Ops(hm.HmmMirrorOps):
    """A device: `pte` is what it maps, changed only under `lock`."""

    def __init__(self) -> None:
        self.lock = Mutex("device")
        self.pte = 0
        self.released = 0

    async def sync_cpu_device_pagetables(self, mirror: hm.HmmMirror, update: hm.HmmUpdate) -> int:
        if update.blockable:
            await self.lock.lock()
        elif not await self.lock.trylock():
            return -errno.EAGAIN
        assert mirror.ops is self
        await point("device")
        self.pte = 0
        self.lock.unlock()
        return 0

    async def release(self, mirror: hm.HmmMirror) -> None:
        for _ in range(3):
            await point("release")
            assert mirror.ops is self
        self.released += 1


async def spawn_all(*coros: Any) -> None:
    sched = (await current()).sched
    for t in [sched.spawn(c, f"s{i}") for i, c in enumerate(coros)]:
        await t.join()


async def register(mm: ToyMm, ops: Ops | None = None) -> hm.HmmMirror:
    mirror = hm.HmmMirror(ops or Ops())
    async with mm.mmap_lock.write():
        assert await hm.hmm_mirror_register(mirror, mm) == 0
    return mirror


def toy() -> ToyMm:
    mm = ToyMm()
    mm.add_vma(BASE, BASE + 4 * PAGE, VM_READ | VM_WRITE)
    return mm


def whole(mm: ToyMm) -> hm.HmmVmaRange:
    return hm.HmmVmaRange(mm.vmas[0], BASE, BASE + 4 * PAGE, default_flags=REQ)


# ---- one thread ------------------------------------------------------------------------------------------


def test_references_are_symmetric() -> None:
    """Review 2 and 3: mirror -> hmm -> mm; every get has its put, and everything goes at the end."""

    async def main() -> None:
        mm = toy()
        a, b = await register(mm), await register(mm)
        hmm = mm.hmm
        assert a.hmm is hmm and b.hmm is hmm and hmm.kref.read() == 2
        assert mm.mm_count == 3  # own, notifier, hmm
        rng = whole(mm)
        async with mm.mmap_lock.read():
            assert await hm.hmm_vma_fault(a, rng) == 0
        assert rng.hmm is hmm and hmm.kref.read() == 3
        assert await hm.hmm_vma_range_done(rng)
        assert rng.hmm is None and hmm.kref.read() == 2
        assert await hm.mm_get_hmm(mm) is hmm
        await hm.hmm_put(hmm)
        for m in (a, b):
            await hm.hmm_mirror_unregister(m)
        await mmu_notifier_synchronize(mm)
        assert mm.hmm is None and is_freed(hmm) and mm.mm_count == 1
        await mm.mmput()
        assert is_freed(mm)

    run(main())


def test_snapshot_and_fault() -> None:
    async def main() -> None:
        mm = toy()
        mm.ptes[BASE] = ToyPte(PteKind.PRESENT, 5, False)
        m = await register(mm)
        rng = whole(mm)
        async with mm.mmap_lock.read():
            assert await hm.hmm_vma_get_pfns(m, rng) == 0
        assert [int(p) for p in rng.pfns] == [HMM_PFN_VALID | 5, 0, 0, 0] and not mm.faults
        assert await hm.hmm_vma_range_done(rng)
        async with mm.mmap_lock.read():
            assert await hm.hmm_vma_fault(m, rng) == 0
        assert all(int(p) & HMM_PFN_WRITE for p in rng.pfns) and len(mm.faults) == 4
        assert await hm.hmm_vma_range_done(rng)

    run(main())


def test_an_error_ends_the_range_once() -> None:
    async def main() -> None:
        mm = toy()
        m = await register(mm)
        mm.fault_result = 2  # VM_FAULT_SIGBUS
        rng = whole(mm)
        async with mm.mmap_lock.read():
            assert await hm.hmm_vma_fault(m, rng) == -errno.EFAULT
        assert rng.hmm is None and not mm.hmm.ranges and mm.hmm.kref.read() == 1
        with pytest.raises(KernelBug, match="not active"):
            await hm.hmm_vma_range_done(rng)

    run(main())


def test_errors_of_ranges() -> None:
    async def main() -> None:
        mm = toy()
        m = await register(mm)
        mm.add_vma(BASE + 8 * PAGE, BASE + 9 * PAGE, 0)
        mm.add_vma(BASE + 10 * PAGE, BASE + 11 * PAGE, VM_READ)
        io = mm.add_vma(BASE + 12 * PAGE, BASE + 13 * PAGE, VM_READ | 0x4000)
        vma = mm.vmas[0]
        async with mm.mmap_lock.read():
            for a, b in ((BASE - PAGE, BASE), (BASE, BASE), (BASE, BASE + 5 * PAGE)):
                rng = hm.HmmVmaRange(vma, a, b)
                assert await hm.hmm_vma_fault(m, rng) == -errno.EINVAL
            rng = hm.HmmVmaRange(io, io.vm_start, io.vm_end)
            assert await hm.hmm_vma_get_pfns(m, rng) == -errno.EINVAL
            rng = hm.HmmVmaRange(mm.vmas[1], mm.vmas[1].vm_start, mm.vmas[1].vm_end)
            assert await hm.hmm_vma_get_pfns(m, rng) == -errno.EPERM
            rng = hm.HmmVmaRange(mm.vmas[2], mm.vmas[2].vm_start, mm.vmas[2].vm_end, default_flags=REQ)
            assert await hm.hmm_vma_fault(m, rng) == -errno.EPERM
        assert mm.hmm.kref.read() == 1 and not mm.hmm.ranges

    run(main())


def test_no_hmm_is_made_by_accident() -> None:
    async def main() -> None:
        mm = toy()
        m = hm.HmmMirror(Ops())
        async with mm.mmap_lock.read():
            assert await hm.hmm_vma_fault(m, whole(mm)) == -errno.EINVAL
            assert await hm.hmm_vma_get_pfns(m, whole(mm)) == -errno.EINVAL
        assert mm.hmm is None
        async with mm.mmap_lock.write():
            assert await hm.hmm_mirror_register(hm.HmmMirror(None), mm) == -errno.EINVAL

    run(main())


def test_neighbours_are_not_invalidated() -> None:
    async def main() -> None:
        mm = toy()
        m = await register(mm)
        rng = hm.HmmVmaRange(mm.vmas[0], BASE + PAGE, BASE + 2 * PAGE, default_flags=REQ)
        async with mm.mmap_lock.read():
            assert await hm.hmm_vma_fault(m, rng) == 0
        await invalidate(mm, BASE, BASE + PAGE)
        await invalidate(mm, BASE + 2 * PAGE, BASE + 3 * PAGE)
        assert await hm.hmm_vma_range_done(rng)

    run(main())


def test_a_range_inside_an_invalidation_is_not_valid() -> None:
    """The invalidation began before the range; the device was told already and will not be told again."""

    async def main() -> None:
        mm = toy()
        m = await register(mm)
        inv = MmuNotifierRange(mm, BASE, BASE + PAGE, MmuNotifyEvent.CLEAR)
        await mmu_notifier_invalidate_range_start(inv)
        rng = whole(mm)
        async with mm.mmap_lock.read():
            assert await hm.hmm_vma_fault(m, rng, block=False) == -errno.EBUSY
            assert await hm.hmm_vma_fault(m, rng) == 0
        assert not await hm.hmm_vma_range_done(rng)

    run(main())


def test_begin_and_end_in_between_count() -> None:
    """ABA: an invalidation that both began and ended inside the read section."""

    async def main() -> None:
        mm = toy()
        m = await register(mm)
        rng = whole(mm)
        async with mm.mmap_lock.read():
            assert await hm.hmm_vma_fault(m, rng) == 0
        await invalidate(mm, BASE, BASE + PAGE)
        assert not await hm.hmm_vma_range_done(rng)

    run(main())


def test_nonblock_failure_unwinds() -> None:
    async def main() -> None:
        mm = toy()
        ops = Ops()
        m = await register(mm, ops)
        await ops.lock.lock()
        assert await invalidate(mm, BASE, BASE + PAGE, blockable=False) == -errno.EAGAIN
        ops.lock.unlock()
        assert not mm.hmm.active and not mm.notifier_subscriptions.sections
        await hm.hmm_mirror_wait_idle(m)
        await mm.hmm.mirrors_sem.down_write()
        assert await invalidate(mm, BASE, BASE + PAGE, blockable=False) == -errno.EAGAIN
        mm.hmm.mirrors_sem.up_write()
        assert not mm.hmm.active
        assert await invalidate(mm, BASE, BASE + PAGE, blockable=False) == 0
        # Nobody owes an end for a start that failed.
        await ops.lock.lock()
        inv = MmuNotifierRange(mm, BASE, BASE + PAGE, MmuNotifyEvent.CLEAR, blockable=False)
        node = mm.hmm.mmu_notifier
        assert await node.ops.invalidate_range_start(node, inv) == -errno.EAGAIN and not mm.hmm.active
        ops.lock.unlock()

    run(main())


def test_the_hmm_keeps_its_mm() -> None:
    """Review: no check of hmm->mm for NULL. The pointer is right as long as the hmm is, whoever has gone."""

    async def main() -> None:
        mm = toy()
        m = await register(mm)
        hmm = m.hmm
        assert hmm is not None
        await mm.mmput()
        assert hmm.mm is mm and not is_freed(mm) and mm.mm_count == 2  # notifier, hmm
        await hm.hmm_mirror_unregister(m)

    run(main())


def test_two_threads_end_one_range() -> None:
    """Review: range->hmm. A range is one thread's; the second one's end is a bug and drops no reference."""

    def scenario(seed: int) -> None:
        async def main() -> None:
            mm = toy()
            m = await register(mm)
            rng = whole(mm)
            async with mm.mmap_lock.read():
                assert await hm.hmm_vma_fault(m, rng) == 0
            refused: list[str] = []

            async def end() -> None:
                try:
                    await hm.hmm_vma_range_done(rng)
                except KernelBug as e:
                    refused.append(str(e))

            await spawn_all(end(), end())
            assert refused == ["hmm_vma_range_done of a range that is not active"]
            assert mm.hmm.kref.read() == 1 and mm.mm_users == 1 and not mm.hmm.ranges

        run(main(), seed=seed)

    for seed in range(20):
        scenario(seed)


def test_a_range_in_use_is_refused() -> None:
    async def main() -> None:
        mm = toy()
        m = await register(mm)
        rng = whole(mm)
        async with mm.mmap_lock.read():
            assert await hm.hmm_vma_fault(m, rng) == 0
            for again in (hm.hmm_vma_fault, hm.hmm_vma_get_pfns):
                with pytest.raises(KernelBug, match="active already"):
                    await again(m, rng)
        assert mm.hmm.kref.read() == 2 and await hm.hmm_vma_range_done(rng)

    run(main())


def test_a_range_keeps_the_address_space() -> None:
    """exit_mmap() waits for the range, whose last put holds the driver's lock, which release() takes."""

    async def main() -> None:
        mm = toy()
        ops = Ops()
        m = await register(mm, ops)
        await mm.mmgrab()
        ops_release = ops.release

        async def release(mirror: hm.HmmMirror) -> None:
            async with ops.lock:
                await ops_release(mirror)

        ops.release = release  # type: ignore[method-assign]
        rng = whole(mm)
        async with mm.mmap_lock.read():
            assert await hm.hmm_vma_fault(m, rng) == 0
        await mm.mmput()
        assert mm.mm_users == 1 and not ops.released
        async with ops.lock:
            assert await hm.hmm_vma_range_done(rng)
        while not ops.released:
            await point("exit")
        async with mm.mmap_lock.read():
            assert await hm.hmm_vma_fault(m, whole(mm)) == -errno.EINVAL
        await hm.hmm_mirror_unregister(m)
        await mm.mmdrop()

    run(main(), seed=1)


def test_a_killed_creator_leaves_nothing() -> None:
    async def main() -> None:
        mm = toy()
        me = await current()
        me.killed = True
        m = hm.HmmMirror(Ops())
        async with mm.mmap_lock.write():
            assert await hm.hmm_mirror_register(m, mm) == -errno.ENOMEM
            assert mm.hmm is None and mm.mm_count == 1
            me.killed = False
            assert await hm.hmm_mirror_register(m, mm) == 0

    run(main())


# ---- races -----------------------------------------------------------------------------------------------


def race_put_exit_invalidate(seed: int) -> None:
    """Last put against exit, invalidations and the freeing of the mm itself."""

    async def main() -> None:
        mm = toy()
        mirrors = [await register(mm) for _ in range(2)]

        async def unregister(m: hm.HmmMirror) -> None:
            await hm.hmm_mirror_unregister(m)
            kfree(m)

        async def pinned(end: int) -> None:
            await user_invalidate(mm, start=BASE, end=end)
            await mm.mmdrop()

        for _ in range(2):
            await mm.mmgrab()
        await spawn_all(*(unregister(m) for m in mirrors), pinned(1 << 40), pinned(BASE + PAGE), mm.mmput())

    run(main(), seed=seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_last_put_against_exit_and_invalidations(seed: int) -> None:
    race_put_exit_invalidate(seed)


def test_put_is_caught_without_a_grace_period(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(mm: Any, callback: Any) -> None:
        await callback()

    monkeypatch.setattr(hm, "mmu_notifier_call_srcu", at_once)
    must_catch(race_put_exit_invalidate, range(200))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_mm_outlives_its_hmm(seed: int) -> None:
    """The process is gone; unregister drops what keeps the mm_struct."""

    async def main() -> None:
        mm = toy()
        m = await register(mm)
        await mm.mmput()
        assert m.hmm is not None and m.ops.released == 1  # type: ignore[attr-defined]
        await hm.hmm_mirror_unregister(m)
        for _ in range(50):
            if is_freed(mm):
                break
            await point("x")
        assert is_freed(mm)

    run(main(), seed=seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_range_is_the_last_user(seed: int) -> None:
    """The mirror goes and the process exits while a range is active: the range's put frees."""

    async def main() -> None:
        mm = toy()
        m = await register(mm)
        rng = whole(mm)
        async with mm.mmap_lock.read():
            assert await hm.hmm_vma_fault(m, rng) == 0

        async def done() -> None:
            await hm.hmm_vma_range_done(rng)

        await spawn_all(hm.hmm_mirror_unregister(m), mm.mmput(), done())
        for _ in range(100):
            if is_freed(mm):
                return
            await point("x")
        raise AssertionError("the mm leaks")

    run(main(), seed=seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_registration_never_fails_for_a_race(seed: int) -> None:
    """First creators and a dying hmm: every register succeeds, and at the end nothing is left."""

    async def main() -> None:
        mm = toy()

        async def user() -> None:
            for _ in range(3):
                m = await register(mm)
                assert mm.hmm is not None
                await hm.hmm_mirror_unregister(m)

        await spawn_all(user(), user(), user(), user_invalidate(mm))
        for _ in range(200):
            if mm.mm_count == 1:
                break
            await point("x")
        assert mm.hmm is None and mm.mm_count == 1
        assert mm.notifier_subscriptions.first is None
        await mm.mmput()

    run(main(), seed=seed)


def race_device(seed: int) -> None:
    """Whatever the order, the device never maps a page that has gone."""
    pfn = [100]

    async def main() -> None:
        mm = toy()
        addr = BASE
        mm.on_fault = lambda a, w: ToyPte(PteKind.PRESENT, pfn[0], True)
        devices: list[Ops] = []

        async def device() -> None:
            ops = Ops()
            m = await register(mm, ops)
            devices.append(ops)
            for _ in range(3):
                while True:
                    await hm.hmm_mirror_wait_idle(m)
                    rng = hm.HmmVmaRange(mm.vmas[0], addr, addr + PAGE, default_flags=REQ)
                    async with mm.mmap_lock.read():
                        assert await hm.hmm_vma_fault(m, rng) == 0
                    await point("x")
                    async with ops.lock:
                        if await hm.hmm_vma_range_done(rng):
                            ops.pte = int(rng.pfns[0]) & 0xFFFF
                            break
                await point("x")
            devices.remove(ops)
            await hm.hmm_mirror_unregister(m)

        def change() -> None:
            for ops in devices:
                assert ops.pte == 0, "the device maps a page that goes away"
            pfn[0] += 1
            mm.ptes.pop(addr, None)

        async def dontneed() -> None:
            for _ in range(4):
                await invalidate(mm, addr, addr + PAGE, change)
                for ops in devices:
                    assert ops.pte in (0, pfn[0])

        await spawn_all(device(), device(), dontneed())
        await mm.mmput()

    run(main(), seed=seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_device_never_maps_a_page_that_has_gone(seed: int) -> None:
    race_device(seed)


def test_device_race_is_caught_without_the_active_list(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = hm._range_begin

    async def blind(mirror: Any, rng: Any) -> int:
        ret = await begin(mirror, rng)
        rng.stale_seq = 0
        return ret

    monkeypatch.setattr(hm, "_range_begin", blind)
    must_catch(race_device, range(200))


def test_device_race_is_caught_when_the_end_validates(monkeypatch: pytest.MonkeyPatch) -> None:
    end = hm._HmmNotifierOps.invalidate_range_end

    async def revalidate(self: Any, sub: Any, range_: Any) -> None:
        for rng in sub.hmm.ranges:
            rng.stale_seq = 0
        await end(self, sub, range_)

    monkeypatch.setattr(hm._HmmNotifierOps, "invalidate_range_end", revalidate)
    must_catch(race_device, range(200))


def race_double_unregister(seed: int) -> None:
    async def main() -> None:
        mm = toy()
        m = await register(mm)
        await spawn_all(*(hm.hmm_mirror_unregister(m) for _ in range(3)), user_invalidate(mm))
        await hm.hmm_mirror_unregister(m)
        await mm.mmput()

    run(main(), seed=seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_double_unregister(seed: int) -> None:
    race_double_unregister(seed)


def test_double_unregister_is_caught_with_a_bare_check(monkeypatch: pytest.MonkeyPatch) -> None:
    async def racy(mirror: Any) -> None:
        hmm = mirror.hmm
        if hmm is None:
            return
        async with hmm.mirrors_sem.write():
            if mirror in hmm.mirrors:
                hmm.mirrors.remove(mirror)
            mirror.hmm = None
        await hm.hmm_put(hmm)

    monkeypatch.setattr(hm, "hmm_mirror_unregister", racy)
    must_catch(race_double_unregister, range(200))


@pytest.mark.parametrize("seed", SEEDS)
def test_fault_against_unregister(seed: int) -> None:
    """A fault finds the hmm through its mirror, and that is there or not."""

    async def main() -> None:
        mm = toy()
        m = await register(mm)

        async def fault() -> None:
            await hm.hmm_mirror_wait_idle(m)
            rng = whole(mm)
            async with mm.mmap_lock.read():
                ret = await hm.hmm_vma_fault(m, rng)
            assert ret in (0, -errno.EINVAL)
            if ret == 0:
                await hm.hmm_vma_range_done(rng)

        await spawn_all(fault(), hm.hmm_mirror_unregister(m), user_invalidate(mm))
        await mm.mmput()

    run(main(), seed=seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_release_against_unregister(seed: int) -> None:
    """The mirror is freed as soon as unregister returns; release may be telling it that the process exits."""

    async def main() -> None:
        mm = toy()
        mirrors = [await register(mm) for _ in range(3)]
        await mm.mmgrab()

        async def unregister(m: hm.HmmMirror) -> None:
            await hm.hmm_mirror_unregister(m)
            kfree(m)

        await spawn_all(mm.mmput(), *(unregister(m) for m in mirrors))
        await mm.mmdrop()

    run(main(), seed=seed)
