"""The versions of the mirror API: each works alone, keeps its contract, and has the bugs of the table."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mm_helpers import ANON, RW
from test_hmm_support import PAGE, VM_READ, VM_WRITE, ToyMm, ToyPte, invalidate, run

from sw_model import hmm_mirror as hm
from sw_model.explore import generations
from sw_model.explore.config import Config, configs, mutants
from sw_model.explore.full import FullWorld
from sw_model.explore.runner import execute, search
from sw_model.explore.strategies import Random
from sw_model.hmm import (
    HMM_PFN_ERROR,
    HMM_PFN_MASK,
    HMM_PFN_REQ_FAULT,
    HMM_PFN_REQ_WRITE,
    HMM_PFN_VALID,
    HMM_PFN_WRITE,
)
from sw_model.hmm_v1 import V1, HmmRange
from sw_model.hmm_v3 import V3
from sw_model.locking import KernelBug, is_freed
from sw_model.mirror_api import MIRROR, OLD_V1, OLD_V3, MirrorApi
from sw_model.mm import MmStruct, PhysMem
from sw_model.mmu_notifier import MmuNotifierRange, MmuNotifyEvent
from sw_model.pagetable import PteKind
from sw_model.sched import point
from sw_model.vma import MADV_DONTNEED

BASE = 0x10_0000
REQ = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE
DOC = Path(__file__).parent.parent / "docs" / "generations.md"
APIS = [OLD_V1, OLD_V3, MIRROR]
OLD = [V1, V3]


class Ops(hm.HmmMirrorOps):
    """A device that maps pages by address, and what it was told."""

    def __init__(self) -> None:
        self.pt: dict[int, int] = {}
        self.told: list[str] = []
        self.refuse = False

    async def sync_cpu_device_pagetables(self, mirror: hm.HmmMirror, update: hm.HmmUpdate) -> int:
        if self.refuse and not update.blockable:
            return -errno.EAGAIN
        self.told.append("invalidate")
        for a in [a for a in self.pt if update.start <= a < update.end]:
            del self.pt[a]
        return 0

    async def release(self, mirror: hm.HmmMirror) -> None:
        self.told.append("release")
        self.pt.clear()


def toy() -> ToyMm:
    mm = ToyMm()
    mm.add_vma(BASE, BASE + 4 * PAGE, VM_READ | VM_WRITE)
    return mm


async def registered(api: MirrorApi, mm: Any) -> tuple[hm.HmmMirror, Ops]:
    ops = Ops()
    mirror = hm.HmmMirror(ops)
    async with mm.mmap_lock.write():
        assert await api.register(mirror, mm) == 0
    return mirror, ops


# ---- nothing races -----------------------------------------------------------------------------------------


async def life(api: MirrorApi, mm: Any, dontneed: Callable[[], Awaitable[Any]]) -> None:
    """Register, fault, invalidate, fault again, snapshot, unregister, exit."""
    mirror, ops = await registered(api, mm)

    async def service() -> None:
        async with mm.mmap_lock.read():
            rng = api.range(mm.find_vma(BASE), BASE, BASE + 2 * PAGE, REQ)
            assert await api.fault(mirror, rng) == 0
        assert await api.done(rng)
        for i, pfn in enumerate(rng.pfns):
            assert int(pfn) & HMM_PFN_WRITE and int(pfn) & HMM_PFN_MASK == mm.pte(BASE + i * PAGE).pfn
            ops.pt[BASE + i * PAGE] = int(pfn) & HMM_PFN_MASK

    await service()
    assert len(ops.pt) == 2
    await dontneed()
    assert ops.told == ["invalidate"] and list(ops.pt) == [BASE + PAGE]
    async with mm.mmap_lock.read():
        rng = api.range(mm.find_vma(BASE), BASE, BASE + 2 * PAGE)
        assert await api.get_pfns(mirror, rng) == 0
    assert await api.done(rng)
    assert [bool(int(p) & HMM_PFN_VALID) for p in rng.pfns] == [False, True]
    await service()
    hmm = mm.hmm
    await api.unregister(mirror)
    for _ in range(20):
        await point("srcu callback")
    assert mm.hmm is None and is_freed(hmm) and mm.mm_count == 1
    await mm.mmput()
    assert is_freed(mm)


@pytest.mark.parametrize("api", APIS, ids=lambda a: a.name)
def test_a_life_on_a_toy(api: MirrorApi) -> None:
    async def main() -> None:
        mm = toy()
        await life(api, mm, lambda: invalidate(mm, BASE, BASE + PAGE, lambda: mm.ptes.pop(BASE)))

    run(main(), seed=1)


@pytest.mark.parametrize("api", APIS, ids=lambda a: a.name)
def test_a_life_on_the_real_mm(api: MirrorApi) -> None:
    async def main() -> None:
        mm = MmStruct(PhysMem(np.zeros(64 * PAGE, np.uint8)))
        await mm.mmap(BASE, 4 * PAGE, RW, ANON)
        await mm.store(BASE, b"x")
        await life(api, mm, lambda: mm.madvise(BASE, PAGE, MADV_DONTNEED))

    run(main(), seed=1)


@pytest.mark.parametrize("api", APIS, ids=lambda a: a.name)
def test_exit_tells_the_mirrors(api: MirrorApi) -> None:
    async def main() -> None:
        mm = toy()
        mirror, ops = await registered(api, mm)
        await mm.mmgrab()
        await mm.mmput()
        assert ops.told == ["release"]
        await api.unregister(mirror)
        await mm.mmdrop()
        for _ in range(20):
            await point("srcu callback")
        assert is_freed(mm)

    run(main(), seed=1)


@pytest.mark.parametrize("name", ["v1", "v3", "mirror"])
def test_the_driver_serves_a_device_write(name: str) -> None:
    """SvmDriver and the functional device over each version, in any order of steps."""
    config = Config("alone", "of a test", "full", lambda sched: FullWorld(sched, name).spawn(), False)
    for seed in range(10):
        out = execute(config, Random(seed))
        assert out.kind is None, out.text


@pytest.mark.parametrize("name", ["v1", "v3"])
def test_the_driver_shows_the_protocol_hole(name: str) -> None:
    """B13 on the whole stack, where the mirror API of today is clean (full_mirror_fault_x_invalidate)."""
    r = search(f"full_{name}_fault_x_invalidate", "random", budget=100, twice=False)
    assert r.failure is not None and r.failure.kind == "Stale"


# ---- the contracts of the old versions ---------------------------------------------------------------------


def test_functions_have_their_names() -> None:
    both = [
        "hmm_free", "hmm_put", "hmm_mm_destroy", "hmm_release", "hmm_invalidate_range_start",
        "hmm_invalidate_range_end", "hmm_mirror_register", "hmm_mirror_unregister", "hmm_vma_get_pfns",
        "hmm_vma_range_done", "hmm_vma_fault",
    ]  # fmt: skip
    for api, names in (
        (V1, [*both, "hmm_get", "hmm_register"]),
        (V3, [*both, "mm_get_hmm", "hmm_get_or_create"]),
    ):
        assert all(callable(getattr(api, n)) for n in names)


@pytest.mark.parametrize("api", OLD, ids=["v1", "v3"])
def test_errors(api: Any) -> None:
    async def main() -> None:
        mm = toy()
        io = mm.add_vma(BASE + 8 * PAGE, BASE + 9 * PAGE, VM_READ | 0x4000)
        closed = mm.add_vma(BASE + 10 * PAGE, BASE + 11 * PAGE, 0)
        for mirror, of in ((None, mm), (hm.HmmMirror(Ops()), None), (hm.HmmMirror(None), mm)):
            assert await api.hmm_mirror_register(mirror, of) == -errno.EINVAL
        mirror = hm.HmmMirror(Ops())
        async with mm.mmap_lock.write():
            assert await api.hmm_mirror_register(mirror, mm) == 0
        kref = mm.hmm.kref
        assert kref.read() == 1
        vma = mm.vmas[0]
        for call in (api.hmm_vma_get_pfns, api.hmm_vma_fault):
            async with mm.mmap_lock.read():
                for a, b in ((BASE - PAGE, BASE), (BASE, BASE + 5 * PAGE)):
                    assert await call(HmmRange(vma, a, b)) == -errno.EINVAL
                rng = HmmRange(io, io.vm_start, io.vm_end)
                assert await call(rng) == -errno.EINVAL and rng.pfns[0] == HMM_PFN_ERROR
                rng = HmmRange(closed, closed.vm_start, closed.vm_end)
                rng.pfns[:] = 7
                assert await call(rng) == -errno.EPERM and rng.pfns[0] == 0
            assert kref.read() == 1 and not mm.hmm.ranges
        with pytest.raises(KernelBug, match="BUG"):
            await api.hmm_vma_range_done(rng)

    run(main())


@pytest.mark.parametrize("api", OLD, ids=["v1", "v3"])
def test_a_range_owns_its_reference(api: Any) -> None:
    """0: the range has the reference until hmm_vma_range_done(); an invalidation zeroes the pfns."""

    async def main() -> None:
        mm = toy()
        await registered(OLD_V1 if api is V1 else OLD_V3, mm)
        hmm = mm.hmm
        rng = HmmRange(mm.vmas[0], BASE, BASE + 2 * PAGE, default_flags=REQ)
        async with mm.mmap_lock.read():
            assert await api.hmm_vma_fault(rng) == 0
        assert rng.hmm is hmm and hmm.kref.read() == 2 and hmm.ranges == [rng]
        await invalidate(mm, BASE, BASE + PAGE)
        assert hmm.kref.read() == 2 and rng.pfns[0] == 0 and rng.pfns[1]
        assert not await api.hmm_vma_range_done(rng)
        assert rng.hmm is None and hmm.kref.read() == 1 and not hmm.ranges

    run(main())


@pytest.mark.parametrize("api", OLD, ids=["v1", "v3"])
def test_a_mirror_may_refuse_only_what_must_not_block(api: Any) -> None:
    async def main() -> None:
        mm = toy()
        mirror, ops = await registered(OLD_V1 if api is V1 else OLD_V3, mm)
        ops.refuse = True
        r = MmuNotifierRange(mm, BASE, BASE + PAGE, MmuNotifyEvent.CLEAR, blockable=False)
        assert await api.hmm_invalidate_range_start(mm.hmm.mmu_notifier, r) == -errno.EAGAIN
        assert await invalidate(mm) == 0
        assert mirror.hmm is mm.hmm and mm.hmm.kref.read() == 1

    run(main())


@pytest.mark.parametrize("api", [OLD_V1, OLD_V3], ids=["v1", "v3"])
def test_the_old_versions_wait_where_nothing_may_block(api: MirrorApi) -> None:
    """They take mirrors_sem in every invalidation, hmm_mirror tries to."""

    async def main(api: MirrorApi) -> None:
        mm = toy()
        await registered(api, mm)
        assert await invalidate(mm, blockable=False) == 0

    with pytest.raises(KernelBug, match="may sleep for mirrors"):
        run(main(api))
    run(main(MIRROR))


def test_where_v1_and_v3_differ() -> None:
    """A callback that finds hmm->mm NULL: v1 returns with its reference, v3 goes on and drops it."""

    async def main(api: MirrorApi, left: int) -> None:
        mm = toy()
        _, ops = await registered(api, mm)
        hmm = mm.hmm
        hmm.mm = None
        await invalidate(mm)
        assert hmm.kref.read() == left and len(ops.told) == (0 if left > 1 else 1)

    run(main(OLD_V1, 3))
    run(main(OLD_V3, 1))


def test_a_poisoned_page_ends_the_walk_of_then() -> None:
    async def main() -> None:
        mm = toy()
        mirror, _ = await registered(OLD_V1, mm)
        mm.ptes[BASE] = ToyPte(PteKind.HWPOISON, base=BASE)
        mm.ptes[BASE + PAGE] = ToyPte(PteKind.PRESENT, 5, True, base=BASE + PAGE)
        for api, second in ((OLD_V1, 0), (MIRROR, HMM_PFN_VALID | HMM_PFN_WRITE | 5)):
            if api is MIRROR:
                await OLD_V1.unregister(mirror)
                mirror, _ = await registered(MIRROR, mm)
            rng = api.range(mm.vmas[0], BASE, BASE + 2 * PAGE)
            async with mm.mmap_lock.read():
                assert await api.get_pfns(mirror, rng) == 0
            assert await api.done(rng) and rng.pfns[1] == second

    run(main())


# ---- the table ---------------------------------------------------------------------------------------------


def test_the_published_table_is_what_running_gives() -> None:
    """Every `open` is a configuration that fails and shows the bug; every `fixed` is clean of it."""
    assert generations.table() in DOC.read_text(), (
        "docs/generations.md: python -m sw_model.explore.generations"
    )


def test_every_bug_of_the_patch_has_a_row() -> None:
    there = {e for m in generations.rows() for e in m.entries}
    assert {f"B{i}" for i in range(1, 21)} <= there
    # F5, F6, F8 and F10 change no behaviour.
    assert {f"F{i}" for i in (1, 2, 3, 4, 7, 9, 11, 12, 13, 14)} <= there


def test_configurations_say_what_is_open() -> None:
    """The bugs that a configuration of v1 names are those of its mutants; v3 has the same there."""
    for c in configs().values():
        if c.name.startswith("v1_"):
            mine = [m for m in mutants().values() if m.config == c.name and m.name not in ("b1", "b7")]
            named = {m.entries[0] if m.entries else m.name for m in mine}
            assert named == set(c.open_bug.split(", ") if c.open_bug else ()), c.name
            assert configs()[c.name.replace("v1_", "v3_")].open_bug == c.open_bug
