"""Memory management under random interleavings: several threads, memory pressure, a model of a device."""

from __future__ import annotations

import random

import pytest

from sw_model import ksm, migrate, mm_ops, reclaim, thp
from sw_model.locking import is_freed
from sw_model.mm import (
    MADV_DONTNEED,
    MADV_HUGEPAGE,
    MAP_FIXED,
    MAP_SHARED,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    PROT_NONE,
    PROT_READ,
    File,
    MmStruct,
    PteKind,
)
from sw_model.sched import point
from tests.mm_helpers import ANON, HUGE, PAGE, RW, Machine, filled

SEEDS = range(12)


@pytest.mark.parametrize("seed", SEEDS)
def test_storm(seed: int):
    """Each worker owns a region and knows its bytes; meanwhile pages are swapped, moved, merged, split.

    At the end: every byte is right, no entry changed outside an invalidation, nothing leaked.
    """
    m = Machine(mib=6, seed=seed, swap_slots=4096)
    rng = random.Random(seed)

    async def worker(mm: MmStruct, k: int) -> None:
        base = 0x1000_0000 * (k + 1)
        n = 24
        at, ref = await filled(mm, n * PAGE, seed * 16 + k, base)
        for _ in range(60):
            op = rng.random()
            off = rng.randrange(n * PAGE - 64)
            if op < 0.4:
                data = rng.randbytes(rng.randrange(1, 64))
                await mm.store(at + off, data)
                ref[off : off + len(data)] = data
            elif op < 0.7:
                assert await mm.load(at + off, 64) == bytes(ref[off : off + 64]), hex(at + off)
            elif op < 0.78:
                p = off // PAGE
                await mm.madvise(at + p * PAGE, PAGE, MADV_DONTNEED)
                ref[p * PAGE : (p + 1) * PAGE] = bytes(PAGE)
            elif op < 0.84:
                p = off // PAGE
                await mm.mprotect(at + p * PAGE, PAGE, rng.choice((PROT_READ, PROT_NONE)))
                await mm.mprotect(at + p * PAGE, PAGE, RW)
            elif op < 0.9:
                new = base + (0x800_0000 if at == base else 0)
                at = await mm.mremap(at, n * PAGE, n * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, new)
            elif op < 0.95:
                child = await mm.fork()
                assert await child.load(at + off, 64) == bytes(ref[off : off + 64])
                await child.store(at + off, b"child")
                assert await mm.load(at + off, 64) == bytes(ref[off : off + 64])
                await child.exit()
            else:
                p = off // PAGE
                await mm.munmap(at + p * PAGE, PAGE)
                await mm.mmap(at + p * PAGE, PAGE, RW, ANON | MAP_FIXED)
                ref[p * PAGE : (p + 1) * PAGE] = bytes(PAGE)
        assert await mm.load(at, n * PAGE) == bytes(ref)

    async def pressure(mms: list[MmStruct], stop: list) -> None:
        while not stop:
            mm = rng.choice(mms)
            leaves = [v for v in mm.vmas]
            if not leaves:
                await point("idle")
                continue
            v = rng.choice(leaves)
            a = rng.randrange(v.vm_start, v.vm_end) & -PAGE
            op = rng.randrange(5)
            if op == 0:
                await reclaim.reclaim_pages(m.phys, 3, rng)
            elif op == 1:
                await migrate.migrate_range(mm, a, min(a + 4 * PAGE, v.vm_end))
            elif op == 2:
                await mm_ops.change_prot_numa(mm, a, min(a + 4 * PAGE, v.vm_end))
            elif op == 3:
                b = rng.randrange(v.vm_start, v.vm_end) & -PAGE
                if a != b:
                    await ksm.merge_pages(mm, a, mm, b)
            else:
                await mm.swap_out_range(a, min(a + 2 * PAGE, v.vm_end))

    async def main():
        mms = [MmStruct(m.phys, f"p{i}") for i in range(2)]
        for mm in mms:
            await m.rec.watch(mm)
        workers = [m.sched.spawn(worker(mms[k % 2], k), f"w{k}") for k in range(4)]
        stop: list = []
        helpers = [m.sched.spawn(pressure(mms, stop), f"pressure{k}") for k in range(2)]
        for w in workers:
            await w.join()
        stop.append(1)
        for h in helpers:
            await h.join()
        await m.finish(*mms)

    m.run(main)
    st = m.phys.stats
    assert st["swap_out"] and st["migrate"] and st["cow"]


@pytest.mark.parametrize("seed", SEEDS)
def test_thp_storm(seed: int):
    """Stores into huge pages while they are split, collapsed, swapped and migrated."""
    m = Machine(mib=24, seed=seed, swap_slots=8192, reuse_window=1)
    rng = random.Random(seed)
    a = 0x4000_0000

    async def writer(mm: MmStruct, ref: bytearray, lo: int, hi: int) -> None:
        for _ in range(50):
            off = rng.randrange(lo, hi - 16)
            data = rng.randbytes(16)
            await mm.store(a + off, data)
            ref[off : off + 16] = data
            off = rng.randrange(lo, hi - 64)
            assert await mm.load(a + off, 64) == bytes(ref[off : off + 64])

    async def shaker(mm: MmStruct, stop: list) -> None:
        while not stop:
            h = a + rng.randrange(2) * HUGE
            p = h + rng.randrange(512) * PAGE
            op = rng.randrange(6)
            if op == 0:
                await thp.collapse_huge_page(mm, h)
            elif op == 1:
                await thp.split_huge_pmd(mm, h)
            elif op == 2:
                await mm.swap_out_range(p, p + PAGE)
            elif op == 3:
                await migrate.migrate_range(mm, p, p + PAGE)
            elif op == 4:
                await mm_ops.change_prot_numa(mm, p, p + PAGE)
            else:
                child = await mm.fork()
                await child.store(p, b"c")
                await child.exit()

    async def main():
        mm = MmStruct(m.phys)
        await m.rec.watch(mm)
        await mm.mmap(a, 2 * HUGE, RW, ANON | MAP_FIXED)
        await mm.madvise(a, 2 * HUGE, MADV_HUGEPAGE)
        ref = bytearray(2 * HUGE)
        half = HUGE
        stop: list = []
        ws = [m.sched.spawn(writer(mm, ref, k * half, (k + 1) * half), f"w{k}") for k in range(2)]
        sh = [m.sched.spawn(shaker(mm, stop), "shaker")]
        for w in ws:
            await w.join()
        stop.append(1)
        for s in sh:
            await s.join()
        assert await mm.load(a, 2 * HUGE) == bytes(ref)
        await m.finish(mm)

    m.run(main)


@pytest.mark.parametrize("seed", SEEDS)
def test_shared_file_storm(seed: int):
    """Two processes and write() share a file under write-back, reclaim and migration; no write is lost."""
    m = Machine(mib=2, seed=seed)
    rng = random.Random(seed)
    n = 6

    async def writer(mm: MmStruct, at: int, k: int, ref: bytearray) -> None:
        for _ in range(40):
            off = rng.randrange(n * PAGE // 32) * 32 + k * 8
            data = rng.randbytes(8)
            await mm.store(at + off, data)
            ref[off : off + 8] = data

    async def shaker(f: File, stop: list) -> None:
        while not stop:
            op = rng.randrange(3)
            if op == 0:
                await f.writeback()
            elif op == 1:
                await reclaim.reclaim_pages(m.phys, 2, rng)
            elif f.pages:
                await migrate.migrate_page(m.phys, rng.choice(list(f.pages.values())))
            await point("idle")

    async def main():
        f = File(m.phys, bytes(n * PAGE))
        ref = bytearray(n * PAGE)
        mms = [MmStruct(m.phys, f"p{k}") for k in range(3)]
        stop: list = []
        ts = []
        for k, mm in enumerate(mms):
            await m.rec.watch(mm)
            at = await mm.mmap(0, n * PAGE, RW, MAP_SHARED, f)
            ts.append(m.sched.spawn(writer(mm, at, k, ref), f"w{k}"))
        sh = m.sched.spawn(shaker(f, stop), "shaker")
        for t in ts:
            await t.join()
        stop.append(1)
        await sh.join()
        assert await f.read(0, n * PAGE) == bytes(ref)
        await f.writeback()
        assert bytes(f.disk) == bytes(ref)
        await f.put()
        await m.finish(*mms)

    m.run(main)


@pytest.mark.parametrize("seed", SEEDS)
def test_two_threads_fault_one_page(seed: int):
    """Racing first-touch, COW and swap-in faults on one page neither lose a store nor leak a frame."""
    m = Machine(mib=1, seed=seed)

    async def toucher(mm: MmStruct, a: int, k: int) -> None:
        await mm.store(a + 8 * k, bytes([k + 1] * 8))

    async def main():
        mm = MmStruct(m.phys)
        await m.rec.watch(mm)
        a = await mm.mmap(0, PAGE, RW, ANON)
        want = bytearray(PAGE)
        for round_ in range(6):
            child = None
            if round_ % 3 == 1:
                child = await mm.fork()
            elif round_ % 3 == 2:
                await mm.swap_out_range(a, a + PAGE)
                assert mm.pte(a).kind is PteKind.SWAP
            ts = [m.sched.spawn(toucher(mm, a, k), f"t{k}") for k in range(4)]
            for t in ts:
                await t.join()
            for k in range(4):
                want[8 * k : 8 * k + 8] = bytes([k + 1] * 8)
            assert await mm.load(a, PAGE) == bytes(want)
            if child is not None:
                await child.exit()
            assert m.phys.nr_used() == 1
        await m.finish(mm)

    m.run(main)


@pytest.mark.parametrize("seed", SEEDS)
def test_exit_against_reverse_map(seed: int):
    """A process exits while its pages are reclaimed and migrated through the reverse map."""
    m = Machine(mib=2, seed=seed)
    rng = random.Random(seed)

    async def shaker(stop: list) -> None:
        while not stop:
            if rng.randrange(2):
                await reclaim.reclaim_pages(m.phys, 4, rng)
            else:
                folios = m.phys.folios()
                if len(folios):
                    await migrate.migrate_page(m.phys, int(rng.choice(list(folios))))
            await point("idle")

    async def life(k: int) -> None:
        for j in range(4):
            mm = MmStruct(m.phys, f"p{k}.{j}")
            await m.rec.watch(mm)
            a, ref = await filled(mm, 10 * PAGE, k)
            child = await mm.fork()
            await mm.exit()
            await m.rec.unwatch(mm)
            assert is_freed(mm)
            assert await child.load(a, 10 * PAGE) == bytes(ref)
            await child.exit()

    async def main():
        stop: list = []
        sh = m.sched.spawn(shaker(stop), "shaker")
        for t in [m.sched.spawn(life(k), f"life{k}") for k in range(3)]:
            await t.join()
        stop.append(1)
        await sh.join()
        await m.finish()

    m.run(main)


@pytest.mark.parametrize("seed", range(30))
def test_stores_during_a_split(seed: int):
    """A store that meets a huge leaf being split waits; it does not fault in a second page."""
    m = Machine(mib=4, seed=seed)  # no second huge page to fall back to
    a = 0x4000_0000

    async def store(mm: MmStruct, k: int, ref: bytearray) -> None:
        for j in range(6):
            at = (k * 100 + j) * PAGE
            await mm.store(a + at, b"data")
            ref[at : at + 4] = b"data"

    async def main():
        mm = MmStruct(m.phys, thp=True)
        await m.rec.watch(mm)
        await mm.mmap(a, HUGE, RW, ANON | MAP_FIXED)
        await mm.store(a, b"zero")
        assert mm.pte(a).order == 9
        ref = bytearray(HUGE)
        ref[:4] = b"zero"
        ts = [m.sched.spawn(thp.split_huge_pmd(mm, a), "split")]
        ts += [m.sched.spawn(store(mm, k, ref), f"s{k}") for k in range(1, 4)]
        for t in ts:
            await t.join()
        assert mm.pte(a).order == 0 and await mm.load(a, HUGE) == bytes(ref)
        await m.finish(mm)

    m.run(main)
