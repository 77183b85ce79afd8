"""What hmm-tests.c does not test, on the host's model and on the RTL, each under several seeded schedules.

In every case frames are watched (nothing a device maps is freed or changes outside an invalidation), counts
balance at the end, and on the RTL the oracle of each device is silent. Non-blockable invalidation, owner and
event filtering, deferred insert and remove, release against faults, several mirrors and devices on one mm,
hwpoison, KSM, compaction and NUMA hints against faults, writes to readable own device-private pages, and
exclusive access and migration against MADV_DONTNEED.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sw_model import dmirror as dm
from sw_model import driver
from sw_model.devmem import data_frame
from sw_model.dmirror import Dmirror
from sw_model.driver import SvmDriver
from sw_model.hmm import HMM_PFN_MASK
from sw_model.hwpoison import memory_failure, unpoison_memory
from sw_model.ksm import merge_pages
from sw_model.migrate import migrate_range
from sw_model.mm import MADV_DONTNEED, PROT_READ, MmStruct, PteKind, SegvError
from sw_model.mm_ops import MmuGather, change_prot_numa, unmap_page_range
from sw_model.mmu_notifier import (
    MmuNotifierRange,
    MmuNotifyEvent,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from sw_model.sched import Thread, point
from sw_model.svm_dmirror import SvmDmirror
from sw_model.thp import collapse_huge_page
from tb.session import DEVICES
from tests.dmirror_helpers import (
    EFAULT,
    ENOENT,
    EPERM,
    HOST_VARIANTS,
    RTL_VARIANTS,
    Hmm,
    RtlMachine,
    Variant,
    hmm,
)
from tests.mm_helpers import ANON, HUGE, PAGE, RW

N = 4  # pages
HOST = [pytest.param(v, s, id=f"{k}-{s}") for k, v in HOST_VARIANTS.items() for s in range(4)]
RTL = [
    pytest.param(v, s + i, id=f"{k}-{s + i}") for i, (k, v) in enumerate(RTL_VARIANTS.items()) for s in (1, 3)
]
schedules = pytest.mark.parametrize("v,seed", [*HOST, *RTL])


def page(value: int) -> bytes:
    """A page of one byte."""
    return bytes([value & 0xFF]) * PAGE


def beside(h: Hmm, step: Callable[[], Awaitable[Any]], name: str) -> tuple[Thread, list[int]]:
    """A thread that repeats `step` until the list, which counts the steps, is given a stop: -1."""
    done = [0]

    async def loop() -> None:
        while done[-1] >= 0:
            await step()
            done[0] += 1
            await h.pause(2_000)  # each step meets another moment of the device's accesses

    return h.m.sched.spawn(loop(), name), done


async def stop(thread: Thread, done: list[int]) -> int:
    """End it; how many steps it made."""
    done.append(-1)
    await thread.join()
    return done[0]


async def turns(h: Hmm, a: int, fds: list[Dmirror], rounds: int, same: bool = False) -> None:
    """CPU and devices write and read pages in turn; with `same` all pages hold the same."""
    for i in range(rounds):
        for p in range(N):
            at, new = a + p * PAGE, page(i if same else i * N + p)
            if (i + p) & 1:
                assert (await fds[i % len(fds)].write(at, new)).ret == 0
            else:
                await h.mm.store(at, new)
            assert await h.mm.load(at, PAGE) == new
            cmd = await fds[p % len(fds)].read(at, 1)
            assert (cmd.ret, cmd.data) == (0, new)


def against(
    v: Variant,
    seed: int,
    make: Callable[[Hmm, int], Callable[[], Awaitable[Any]]],
    n: int = 1,
    same: bool = False,
) -> None:
    """turns() against a thread that repeats what `make(h, address)` returns."""

    async def body(h: Hmm) -> None:
        a = await h.filled(N * PAGE)
        thread, done = beside(h, make(h, a), "other")
        await turns(h, a, h.fds, 3 if v.rtl else 8, same)
        assert await stop(thread, done) > 2

    hmm(v, body, seed=seed, mib=4, pages=32)


# -- one page against one event of the memory manager ----------------------------------------------


@schedules
def test_compaction_x_fault(v: Variant, seed: int) -> None:
    """migrate_pages() moves the pages to other frames."""

    def make(h: Hmm, a: int) -> Callable[[], Awaitable[Any]]:
        return lambda: migrate_range(h.mm, a, a + N * PAGE)

    against(v, seed, make)


@schedules
def test_numa_hint_x_fault(v: Variant, seed: int) -> None:
    """Entries become PROT_NONE under the device; its fault makes them accessible again."""

    def make(h: Hmm, a: int) -> Callable[[], Awaitable[Any]]:
        return lambda: change_prot_numa(h.mm, a, a + N * PAGE)

    against(v, seed, make)


@schedules
def test_ksm_x_fault(v: Variant, seed: int) -> None:
    """Equal pages are merged read-only; a device's write breaks them apart again."""
    merged = []

    def make(h: Hmm, a: int) -> Callable[[], Awaitable[Any]]:
        async def step() -> None:
            for p in range(0, N, 2):
                merged.append(await merge_pages(h.mm, a + p * PAGE, h.mm, a + (p + 1) * PAGE))

        return step

    against(v, seed, make, same=True)
    assert 0 in merged, "pages were merged"


@schedules
def test_hwpoison_x_fault(v: Variant, seed: int) -> None:
    """A page breaks under the device: it and the CPU get errors there, and everything else goes on."""

    async def body(h: Hmm) -> None:
        a = await h.filled(N * PAGE)
        bad = seed % N
        broken: list[int] = []

        async def fail() -> None:
            await h.pause(seed * 3_000)
            while not broken:
                pfn = h.mm.pte(a + bad * PAGE).pfn
                if not await memory_failure(h.phys, pfn):
                    broken.append(pfn)
                await h.pause(1_000)

        thread = h.m.sched.spawn(fail(), "memory failure")
        codes = set()
        for i in range(4):
            for p in range(N):
                cmd = await (h.fd.read(a + p * PAGE, 1) if i & 1 else h.fd.write(a + p * PAGE, page(i)))
                assert cmd.ret in ((0, -EFAULT) if p == bad else (0,))
                codes.add(cmd.ret)
        await thread.join()
        at = a + bad * PAGE
        assert h.mm.pte(at).kind is PteKind.HWPOISON
        assert (await h.fd.read(at, 1)).ret == -EFAULT
        with pytest.raises(SegvError):
            await h.mm.load(at, 1)
        assert list((await h.fd.snapshot(a, N)).data)[bad] == dm.PROT_ERROR
        assert (await h.fd.migrate_to_dev(at, 1)).ret == -ENOENT
        child = await h.mm.fork()
        assert child.pte(at).kind is PteKind.HWPOISON
        await child.exit()
        await h.mm.madvise(at, PAGE, MADV_DONTNEED)
        assert (await h.fd.read(at, 1)).data == bytes(PAGE), "another frame"
        assert h.mm.pte(at).pfn != broken[0] and h.phys.refcount[broken[0]] == 1
        unpoison_memory(h.phys, broken[0])

    hmm(v, body, seed=seed, mib=4, pages=32)


@schedules
@pytest.mark.parametrize("command", ["exclusive", "migrate_to_dev"])
def test_device_memory_x_dontneed(v: Variant, seed: int, command: str) -> None:
    """Exclusive access and migration while the CPU discards the pages: the device never maps a freed page."""

    async def body(h: Hmm) -> None:
        a = await h.filled(N * PAGE)
        last = 0

        async def discard() -> None:
            nonlocal last
            await h.mm.madvise(a, N * PAGE, MADV_DONTNEED)
            last += 1
            await h.mm.store(a + last % N * PAGE, page(last))

        thread, done = beside(h, discard, "discard")
        for _ in range(6):
            cmd = await getattr(h.fd, command)(a, N)
            assert cmd.ret in (0, -ENOENT)
            await h.fd.read(a, N)
        assert await stop(thread, done) > 2
        await h.mm.madvise(a, N * PAGE, MADV_DONTNEED)
        assert (await h.fd.read(a, N)).data == bytes(N * PAGE)
        assert len(h.devices[0].pagemap.free) == 32, "no device page is left behind"

    hmm(v, body, seed=seed, mib=4, pages=32)


@schedules
@pytest.mark.parametrize("how", ["mprotect", "fork"])
def test_write_to_a_readable_own_page(v: Variant, seed: int, how: str) -> None:
    """An own device page whose entry became readable is written: the write fault is taken, not refused."""

    async def body(h: Hmm) -> None:
        a = await h.filled(N * PAGE)
        old = await h.mm.load(a, N * PAGE)
        await h.to_dev(a, N * PAGE, old)
        child: MmStruct | None = None
        if how == "fork":
            child = await h.mm.fork()
        else:
            await h.mm.mprotect(a, N * PAGE, PROT_READ)
            assert (await h.fd.read(a, N)).data == old
            assert (await h.fd.write(a, page(1))).ret == -EPERM
            await h.mm.mprotect(a, N * PAGE, RW)
        moves = h.m.sched.spawn(migrate_range(h.mm, a, a + N * PAGE), "compaction")
        assert (await h.fd.write(a, page(7) + page(8))).ret == 0
        await moves.join()
        await h.cpu(a, page(7) + page(8) + old[2 * PAGE :])
        if child is not None:
            await h.cpu(a, old, child)
            await child.exit()

    hmm(v, body, seed=seed, mib=4, pages=32)


@schedules
def test_huge_pages_x_everything(v: Variant, seed: int) -> None:
    """2 MiB go to the device and back while a part is discarded, forked, protected or moved."""
    orders = set()

    async def body(h: Hmm) -> None:
        _, a = await h.huge()
        await h.mm.store(a, b"h" * HUGE)
        other = a + HUGE // 2
        step = 0

        async def disturb() -> None:
            nonlocal step
            step += 1
            if step % 4 == 0:
                await h.mm.madvise(other, 8 * PAGE, MADV_DONTNEED)
            elif step % 4 == 1:
                child = await h.mm.fork()
                await child.store(a, b"child")
                await child.exit()
            elif step % 4 == 2:
                await h.mm.mprotect(other, PAGE, PROT_READ)
                await h.mm.mprotect(other, PAGE, RW)
            else:
                await collapse_huge_page(h.mm, a)
            await h.pause(20_000)

        thread, done = beside(h, disturb, "disturb")
        for i in range(2 if v.rtl else 3):
            if isinstance(h.fd, SvmDmirror):
                h.fd.read_back = N
            assert (await h.fd.migrate_to_dev(a, 512)).ret in (0, -ENOENT)
            orders.add(h.mm.pte(a).order)
            new = page(i) * N
            assert (await h.fd.write(a, new)).ret == 0
            cmd = await h.fd.read(a, N)
            assert (cmd.ret, cmd.data) == (0, new)
            await h.cpu(a, new)
            await h.cpu(a + HUGE - PAGE, b"h" * PAGE)
            assert (await h.fd.migrate_to_sys(a, 512)).ret == 0
            await h.cpu(a, new)
        await stop(thread, done)

    hmm(v, body, pages=512, mib=16, seed=seed)
    assert orders <= {0, 9}


@pytest.mark.parametrize("v", RTL_VARIANTS.values(), ids=RTL_VARIANTS.keys())
@pytest.mark.parametrize("huge", [False, True], ids=["", "huge"])
def test_device_memory_aperture(v: Variant, huge: bool) -> None:
    """What has moved to the device is accessed in the aperture, 2 MiB through one translation; else never."""

    async def body(h: Hmm) -> None:
        assert isinstance(h.m, RtlMachine)
        world, oracle, phys = h.m.rack.worlds[0], h.m.rack.oracles[0], h.phys
        low = world.bus_base + phys.device_pfn * PAGE

        def where(a: int, size: int) -> set[bool]:
            accesses, records = world.drain_logs()
            oracle.feed(accesses, records)
            mine = (accesses["va"] >= a) & (accesses["va"] < a + size) & (accesses["issued"] > 0)
            return {bool(bus >= low) for bus in accesses["bus"][mine].tolist()}

        size = HUGE if huge else 8 * PAGE
        a = (await h.huge())[1] if huge else await h.mm.mmap(0, size, RW, ANON)
        await h.mm.store(a, b"m" * size)
        assert (await h.fd.read(a, 8)).data == b"m" * 8 * PAGE
        assert where(a, size) == {False}
        await h.to_dev(a, size, b"m" * size)
        assert isinstance(h.fd, SvmDmirror) and (a // HUGE in h.fd.att.local.huge) == huge
        assert (await h.fd.write(a, b"d" * 8 * PAGE)).ret == 0
        assert where(a, size) == {True}
        frame = data_frame(phys, h.mm.pte(a).pfn)
        assert frame >= phys.device_pfn and bytes(phys.page_view(frame)) == b"d" * PAGE
        assert (h.mm.translate_fast(a, False) >= 0) == v.coherent
        await h.cpu(a, b"d" * 8 * PAGE)
        await h.fd.migrate_to_sys(a, size // PAGE)
        assert (await h.fd.read(a, 8)).data == b"d" * 8 * PAGE
        assert where(a, size) == {False}

    hmm(v, body, pages=512 if huge else 32, mib=16)


# -- notifiers -------------------------------------------------------------------------------------


async def reap(h: Hmm, a: int, size: int) -> int:
    """zap_vma_for_reaping(): the OOM reaper's zap, which may not block; 0 or -EAGAIN."""
    mm = h.mm
    async with mm.mmap_lock.read():
        vma = mm.vma_lookup(a)
        assert vma is not None
        r = MmuNotifierRange(mm, a, a + size, MmuNotifyEvent.CLEAR, blockable=False)
        tlb = MmuGather(mm.phys)
        ret = await mmu_notifier_invalidate_range_start(r)
        if ret == 0:
            await unmap_page_range(mm, a, a + size, tlb)
            await mmu_notifier_invalidate_range_end(r)
        await tlb.finish()
    return ret


@schedules
def test_nonblockable_invalidation(v: Variant, seed: int) -> None:
    """The reaper against device reads: refused without a trace, or done; a refused range stays usable."""
    results: list[int] = []

    async def body(h: Hmm) -> None:
        a = await h.filled(N * PAGE)
        old = await h.mm.load(a, N * PAGE)
        spare = await h.mm.mmap(0, N * PAGE, RW, ANON)

        async def step() -> None:
            results.append(await reap(h, spare, N * PAGE))
            await h.mm.store(spare, b"x")

        thread, done = beside(h, step, "reaper")
        for _ in range(4):
            assert (await h.fd.read(a, N)).data == old
            assert (await h.fd.read(spare, N)).ret == 0
        await stop(thread, done)
        subs = h.mm.notifier_subscriptions
        assert subs is not None and subs.active_invalidate_ranges == 0 and not subs.is_invalidating
        if v.rtl:
            assert (await h.fd.read(spare, N)).ret == 0
            assert await reap(h, spare, N * PAGE) == -errno.EAGAIN, "the device would have to be waited for"
        await h.mm.madvise(spare, N * PAGE, MADV_DONTNEED)
        assert await reap(h, spare, N * PAGE) == 0, "nothing is mapped there"
        assert (await h.fd.read(spare, N)).data == bytes(N * PAGE)

    hmm(v, body, seed=seed, mib=4, pages=32)
    assert 0 in results


@schedules
def test_owner_and_event_filtering(v: Variant, seed: int) -> None:
    """A device keeps what its own migration and exclusive access do not move; the other device loses it."""

    async def body(h: Hmm) -> None:
        fd0, fd1 = h.fds
        a = await h.filled(2 * N * PAGE)
        want = await h.mm.load(a, 2 * N * PAGE)
        await h.to_dev(a, N * PAGE, want[: N * PAGE])
        kept = await fd0.read(a, N)
        assert (kept.ret, kept.data) == (0, want[: N * PAGE])
        await h.to_dev(a, 2 * N * PAGE, want)  # the event covers the first half, which stays
        cmd = await fd0.read(a, 2 * N)
        assert (cmd.ret, cmd.faults, cmd.data) == (0, 0, want)
        assert (await fd1.read(a, 1)).data == want[:PAGE], "foreign device memory comes back"
        back = {PteKind.PRESENT} if not h.coherent else {PteKind.PRESENT, PteKind.ZERO}
        assert h.mm.pte(a).kind in back
        b = await h.filled(PAGE)
        for fd in h.fds:
            assert (await fd.read(b, 1)).ret == 0
        assert (await fd0.exclusive(b, 1)).ret == 0
        assert h.mm.pte(b).kind is PteKind.DEVICE_EXCLUSIVE
        if isinstance(fd0, SvmDmirror):
            assert isinstance(fd1, SvmDmirror)
            assert fd0.mapped(b >> 12) and not fd1.mapped(b >> 12)
            before = int.from_bytes((await fd0.read(b, 1)).data[:8], "little")
            assert await fd0.cas(b, before, 99) == (0, before), "an atomic operation of the device"
        cmd = await fd1.read(b, 1)
        assert cmd.ret == 0 and (not v.rtl or cmd.data[:8] == (99).to_bytes(8, "little"))
        assert (await fd0.check_exclusive(b, 1)).ret == 0, "the other device took it back"

    hmm(v, body, n=2, seed=seed, mib=4, pages=32)


@schedules
def test_deferred_insert_and_remove(v: Variant, seed: int) -> None:
    """Mirrors come and go while the mm is invalidated all the time."""

    async def body(h: Hmm) -> None:
        a = await h.filled(N * PAGE)
        old = await h.mm.load(a, N * PAGE)
        spare = await h.mm.mmap(0, N * PAGE, RW, ANON)

        async def step() -> None:
            await h.mm.store(spare, b"x")
            await h.mm.madvise(spare, N * PAGE, MADV_DONTNEED)
            await h.mm.mprotect(a, N * PAGE, PROT_READ)
            await point("test")
            await h.mm.mprotect(a, N * PAGE, RW)

        others = [beside(h, step, f"invalidate {i}") for i in range(2)]
        for _ in range(3):
            fd = await h.devices[0].open(h.mm)
            assert (await fd.read(a, N)).data == old
            await fd.close()
        for thread, done in others:
            assert await stop(thread, done) > 1
        subs = h.mm.notifier_subscriptions
        assert subs is not None and not subs.deferred_list

    hmm(v, body, seed=seed, mib=4, pages=32)


@pytest.mark.parametrize("v", HOST_VARIANTS.values(), ids=HOST_VARIANTS.keys())
def test_insert_and_remove_are_deferred(v: Variant) -> None:
    """In some schedule a mirror is inserted, and in some removed, while an invalidation runs."""
    seen = set()

    async def body(h: Hmm) -> None:
        a = await h.filled(N * PAGE)
        subs = h.mm.notifier_subscriptions
        assert subs is not None

        async def watch() -> None:
            seen.update(
                "insert" if sub.deferred and not sub.in_tree else "remove" for sub in subs.deferred_list
            )
            await point("test")

        async def invalidate() -> None:
            await h.mm.mprotect(a, PAGE, PROT_READ)
            await h.mm.mprotect(a, PAGE, RW)

        others = [beside(h, watch, "watch"), beside(h, invalidate, "invalidate")]
        for _ in range(4):
            fd = await h.devices[0].open(h.mm)
            assert (await fd.read(a, 1)).ret == 0
            await fd.close()
        for thread, done in others:
            await stop(thread, done)

    for seed in range(40):
        hmm(v, body, seed=seed, mib=4, pages=32)
        if len(seen) == 2:
            return
    pytest.fail(f"deferred: {seen}")


@schedules
def test_release_x_fault(v: Variant, seed: int) -> None:
    """The process exits under the device's accesses: they end, with errors, and its pages are free."""

    async def body(h: Hmm) -> None:
        mm = MmStruct(h.phys, "victim")
        await h.m.rec.watch(mm)
        fd = await h.devices[0].open(mm)
        a = await mm.mmap(0, 8 * N * PAGE, RW, ANON)
        await mm.store(a, page(1) * 8 * N)
        await fd.migrate_to_dev(a, N)
        ended = []

        async def accesses() -> None:
            while not ended or ended[-1]:
                if isinstance(fd, SvmDmirror):
                    # No reference on the mm's users: as a kernel running on the accelerator.
                    ended.append(int((await fd.copy_status(a, a + 4 * N * PAGE, 4 * N) == 0).sum()))
                else:
                    ended.append((await fd.read(a, 8 * N)).cpages)

        thread = h.m.sched.spawn(accesses(), "accesses")
        await h.pause(seed * 5_000)
        await mm.exit()
        await thread.join()
        assert ended[-1] == 0, "no access succeeds after the exit"
        assert len(h.devices[0].pagemap.free) == 32
        await fd.close()
        await h.m.rec.unwatch(mm)

    hmm(v, body, seed=seed, mib=4, pages=32)


@schedules
def test_several_mirrors_and_devices(v: Variant, seed: int) -> None:
    """Two devices and a second mirror of one of them share a process; both migrate, others reclaim."""

    async def body(h: Hmm) -> None:
        a = await h.filled(N * PAGE)
        second = await h.devices[0].open(h.mm)

        async def step() -> None:
            for fd in (*h.fds, second):
                assert (await fd.migrate_to_dev(a, N)).ret in (0, -ENOENT)
            await h.mm.swap_out_range(a, a + N * PAGE)
            await h.devices[1].evict()
            child = await h.mm.fork()
            await child.store(a, b"child")
            await child.exit()

        thread, done = beside(h, step, "others")
        await turns(h, a, [*h.fds, second], 3 if v.rtl else 6)
        assert await stop(thread, done) > 0
        await second.close()

    hmm(v, body, n=2, seed=seed, mib=4, pages=32)


@pytest.mark.parametrize("v", RTL_VARIANTS.values(), ids=RTL_VARIANTS.keys())
def test_small_cache_on_a_slow_bus(v: Variant) -> None:
    """16 cached translations, two fault identifiers: device and exclusive pages are dropped and fault."""

    async def body(h: Hmm) -> None:
        n = 24
        a = await h.filled(n * PAGE)
        want = await h.mm.load(a, n * PAGE)
        assert isinstance(h.fd, SvmDmirror)
        await h.to_dev(a, n * PAGE // 2, want[: n * PAGE // 2])
        cmd = await h.fd.exclusive(a + n * PAGE // 2, n // 2)
        assert (cmd.ret, cmd.data) == (0, want[n * PAGE // 2 :])
        thread, done = beside(h, lambda: migrate_range(h.mm, a, a + n * PAGE), "compaction")
        cmd = await h.fd.read(a, n)
        assert (cmd.ret, cmd.data) == (0, want) and cmd.faults > n // 2, "the cache holds a part"
        want = want[PAGE:] + want[:PAGE]
        assert (await h.fd.write(a, want)).ret == 0
        await stop(thread, done)
        await h.cpu(a, want)

    hmm(v, body, pages=32, mib=4, seed=2, device_params=DEVICES["small"], config="stress")


# -- planted bugs ----------------------------------------------------------------------------------


def _unguarded(patch: pytest.MonkeyPatch) -> None:
    """Migrated pages are mapped without a look at what was invalidated meanwhile."""
    real = SvmDriver.map_pages

    async def map_pages(self: SvmDriver, att: Any, first: int, pfns: Any, valid: Any) -> bool:
        return await real(self, att, first, pfns, lambda: valid() or True)

    patch.setattr(SvmDriver, "map_pages", map_pages)


def _late(patch: pytest.MonkeyPatch) -> None:
    """Device memory is copied back while the device still writes to it."""

    async def drop_moving(self: SvmDmirror, args: Any) -> None:
        await point("test")

    patch.setattr(SvmDmirror, "drop_moving", drop_moving)


def _own_events(patch: pytest.MonkeyPatch) -> None:
    """The device's own MIGRATE events are skipped, as dmirror does, which has no translation cache."""
    real = driver._IntervalOps.invalidate

    async def invalidate(self: Any, sub: Any, r: MmuNotifierRange, seq: int) -> bool:
        if r.event is MmuNotifyEvent.MIGRATE and r.owner is sub.att.driver.owner:
            return True
        return await real(self, sub, r, seq)

    patch.setattr(driver._IntervalOps, "invalidate", invalidate)


def _front(patch: pytest.MonkeyPatch) -> None:
    """The device is given the frame of a device-private page's pfn, not the one with the data."""

    def frames(self: SvmDriver, pfns: Any) -> tuple[list[int], list[bool]]:
        return [p & HMM_PFN_MASK for p in pfns.tolist()], [False] * len(pfns)

    patch.setattr(SvmDriver, "_frames", frames)


PLANTS = {
    "unguarded": (_unguarded, lambda v, seed: test_device_memory_x_dontneed(v, seed, "migrate_to_dev")),
    "late": (_late, lambda v, seed: test_several_mirrors_and_devices(v, seed)),
    "own events": (_own_events, lambda v, seed: test_several_mirrors_and_devices(v, seed)),
    "front": (_front, lambda v, seed: test_owner_and_event_filtering(v, seed)),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", PLANTS)
def test_planted_bug_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is found on the RTL, by the data or by the oracle, in one of a few schedules."""
    plant, case = PLANTS[name]
    plant(monkeypatch)
    for seed in range(1, 9):
        try:
            case(RTL_VARIANTS["device_private-rtl"], seed)
        except AssertionError:
            return
    pytest.fail("no schedule shows the planted bug")
