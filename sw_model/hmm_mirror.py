"""The HMM mirror API with reference counts that hold: the version to use of the mirror API.

Names and roles are those of "mm/hmm: use reference counting for HMM struct" (sw_model.hmm_v1 has it as
posted, sw_model.hmm_v3 as merged), with the fixes that followed until the mirror API was removed. Who keeps
what alive:

| holder | holds | until |
|---|---|---|
| mirror | its struct hmm | hmm_mirror_unregister() |
| active range | the hmm, and the address space (mmget) | hmm_vma_range_done() |
| running callback | the hmm | it returns |
| hmm | the mm_struct (mmgrab); itself, for walkers of the notifier list (SRCU) | the delayed free |

What the patch's reviewers asked, and where it is decided:

- Symmetric get and put: `hmm_get(hmm)` and `hmm_put(hmm)` count, `mm_get_hmm(mm)` looks up.
- `hmm->mm == NULL` checks: there is none, `struct hmm` below says why.
- Does hmm pin the mm? `hmm_get_or_create()` takes an mmgrab of its own, the delayed free drops it.
- `range->hmm` and threads: `hmm_vma_range_done()` and `_range_begin()`.
"""

from __future__ import annotations

import errno
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw_model.hmm import (
    HMM_PFN_REQ_FAULT,
    HMM_PFN_REQ_WRITE,
    PAGE_SHIFT,
    Walk,
    WalkBusy,
    WalkFail,
)
from sw_model.locking import KernelBug, Kref, Mutex, RwSem, SpinLock, kfree, warn_on
from sw_model.mmu_notifier import (
    MmuNotifier,
    MmuNotifierOps,
    MmuNotifierRange,
    mmu_notifier_call_srcu,
    mmu_notifier_register_locked,
    mmu_notifier_unregister_no_release,
)
from sw_model.sched import WaitQueue, point
from sw_model.vma import VM_READ, VM_SPECIAL


class HmmUpdate:
    """struct hmm_update: what a mirror is told. [start, end) in bytes."""

    def __init__(self, start: int, end: int, blockable: bool, event: Any) -> None:
        self.start = start
        self.end = end
        self.blockable = blockable
        self.event = event


class HmmMirrorOps:
    """struct hmm_mirror_ops: the driver's callbacks."""

    async def sync_cpu_device_pagetables(self, mirror: HmmMirror, update: HmmUpdate) -> int:
        """The device stops using the range. 0, or -EAGAIN if not blockable and it would block."""
        raise NotImplementedError

    async def release(self, mirror: HmmMirror) -> None:
        """The address space goes away. Must not unregister the mirror."""


class HmmMirror:
    """struct hmm_mirror: one device's view of one process. Embed or subclass it."""

    def __init__(self, ops: HmmMirrorOps | None) -> None:
        self.ops = ops
        self.hmm: Hmm | None = None
        self.lock = Mutex("mirror")


class StructHmm:
    """What struct hmm has in every version: the mm, one count, the ranges, the mirrors, the notifier."""

    def __init__(self, mm: Any, ops: MmuNotifierOps) -> None:
        self.mm = mm
        self.kref = Kref(1, "hmm")
        self.lock = SpinLock("hmm")
        self.ranges: list[Any] = []
        self.mirrors: list[HmmMirror] = []
        self.mirrors_sem = RwSem("mirrors")
        self.mmu_notifier = MmuNotifier(ops)


def kfree_hmm(hmm: StructHmm) -> None:
    """kfree(hmm): with the notifier that is embedded in it."""
    kfree(hmm.mmu_notifier)
    kfree(hmm)


class Hmm(StructHmm):
    """struct hmm: one per process that is mirrored. Made by the first mirror, freed after the last put.

    `mm` is set once and stays: the hmm's mmgrab keeps the structure as long as the hmm, so nothing asks
    whether it is NULL.
    """

    def __init__(self, mm: Any) -> None:
        super().__init__(mm, _OPS)
        self.mmu_notifier.hmm = self  # type: ignore[attr-defined]
        #: counts invalidations that began; a range is valid while none of them met it
        self.seq = 1
        self.active: list[MmuNotifierRange] = []
        self.wq = WaitQueue("hmm")


class StructHmmRange:
    """struct hmm_range of 5.1: [start, end) inside one VMA, used by one thread.

    `pfns` is input and output, a uint64 a page with the flags of sw_model.hmm. `default_flags` is added to
    the request of every page.
    """

    def __init__(
        self, vma: Any, start: int, end: int, pfns: NDArray[np.uint64] | None = None, default_flags: int = 0
    ) -> None:
        self.vma = vma
        self.start = start
        self.end = end
        self.pfns = np.zeros((end - start) >> PAGE_SHIFT, np.uint64) if pfns is None else pfns
        self.default_flags = default_flags
        self.hmm: Any = None


class HmmVmaRange(StructHmmRange):
    """struct hmm_range; valid while no invalidation with a number above `begin_seq` met it."""

    begin_seq = 0
    stale_seq = 0


# ---- struct hmm ------------------------------------------------------------------------------------------


async def hmm_get(hmm: Hmm) -> bool:
    """kref_get_unless_zero(): the counterpart of hmm_put(), for a pointer that cannot be freed meanwhile."""
    return await hmm.kref.get_unless_zero()


async def mm_get_hmm(mm: Any) -> Hmm | None:
    """The live hmm of a process with one more reference, or None (hmm_get(mm) of the first version).

    The pointer and the count are read under page_table_lock: hmm_free() clears the pointer under it before
    the object can go.
    """
    async with mm.page_table_lock:
        hmm = mm.hmm
        if hmm is not None and await hmm.kref.get_unless_zero():
            return hmm
    return None


async def hmm_put(hmm: Hmm) -> None:
    """Drop a reference; the last one frees. Any context that may take page_table_lock."""
    if await hmm.kref.put():
        await _hmm_free(hmm)


async def hmm_get_or_create(mm: Any) -> Hmm | None:
    """hmm_get_or_create(): the hmm of a process with one more reference; None without a notifier.

    The caller holds mmap_lock for writing and an mm_users reference. Writers are serialised by mmap_lock, so
    no first creator loses a race, and a dying hmm is simply replaced. The notifier is registered
    before the pointer is published: whoever finds the hmm gets every invalidation, and nobody finds one that
    has to be thrown away. The hmm pins its mm_struct itself: the notifier's pin goes before the hmm does.
    """
    mm.mmap_lock.assert_write_held()
    hmm = await mm_get_hmm(mm)
    if hmm is not None:
        return hmm
    hmm = Hmm(mm)
    await mm.mmgrab()
    if await mmu_notifier_register_locked(hmm.mmu_notifier, mm):
        kfree_hmm(hmm)
        await mm.mmdrop()
        return None
    async with mm.page_table_lock:
        mm.hmm = hmm
    return hmm


async def _hmm_free(hmm: Hmm) -> None:
    """hmm_free(): unpublish, unlink, and free only when no walker can stand on the notifier."""
    mm = hmm.mm
    async with mm.page_table_lock:
        if mm.hmm is hmm:
            mm.hmm = None
    # Drops the notifier's mm_count; the hmm's own keeps the mm for the delayed part.
    await mmu_notifier_unregister_no_release(hmm.mmu_notifier, mm)

    async def free_rcu() -> None:
        warn_on(hmm.ranges or hmm.mirrors, "hmm freed with ranges or mirrors")
        kfree_hmm(hmm)
        await mm.mmdrop()

    await mmu_notifier_call_srcu(mm, free_rcu)


def _inactive(hmm: Hmm, range_: MmuNotifierRange) -> None:
    """Under hmm.lock: an invalidation is over. Waiters look again."""
    if range_ in hmm.active:
        hmm.active.remove(range_)
    hmm.wq.wake_all()


# ---- notifier callbacks ----------------------------------------------------------------------------------


class _HmmNotifierOps(MmuNotifierOps):
    """hmm_mmu_notifier_ops. The hmm comes from the notifier (container_of), never from mm->hmm.

    SRCU keeps the object while a callback looks at it; when its count is already 0 nobody uses the device
    through it any more and there is nothing to do.
    """

    # The core calls end for every notifier when one start fails, this one included: an end without its start
    # is nothing.
    end_after_failed_start = True

    async def release(self, subscription: Any, mm: Any) -> None:  # type: ignore[override]
        """hmm_release(): tells the mirrors under mirrors_sem; none is unregistered meanwhile."""
        hmm = subscription.hmm
        if not await hmm_get(hmm):
            return
        async with hmm.mirrors_sem.read():
            for mirror in list(hmm.mirrors):
                assert mirror.ops is not None
                await mirror.ops.release(mirror)
        await hmm_put(hmm)

    async def invalidate_range_start(self, subscription: Any, range_: MmuNotifierRange) -> int:  # type: ignore[override]
        """hmm_invalidate_range_start(): 0, or -EAGAIN if not blockable and a mirror would block."""
        hmm = subscription.hmm
        if not await hmm_get(hmm):
            return 0
        async with hmm.lock:
            hmm.active.append(range_)
            hmm.seq += 1
            for rng in hmm.ranges:
                if rng.start < range_.end and range_.start < rng.end:
                    rng.stale_seq = hmm.seq
        ret = 0
        if range_.blockable:
            await hmm.mirrors_sem.down_read()
            locked = True
        else:
            locked = await hmm.mirrors_sem.down_read_trylock()
            ret = 0 if locked else -errno.EAGAIN
        if locked:
            update = HmmUpdate(range_.start, range_.end, range_.blockable, range_.event)
            for mirror in hmm.mirrors:
                assert mirror.ops is not None
                r = await mirror.ops.sync_cpu_device_pagetables(mirror, update)
                if r:
                    warn_on(range_.blockable or r != -errno.EAGAIN, f"mirror returned {r}")
                    ret = r
                    break
            hmm.mirrors_sem.up_read()
        if ret:
            # No end is owed for a start that failed.
            async with hmm.lock:
                _inactive(hmm, range_)
        await hmm_put(hmm)
        return ret

    async def invalidate_range_end(self, subscription: Any, range_: MmuNotifierRange) -> None:  # type: ignore[override]
        """hmm_invalidate_range_end(): never makes a range valid again."""
        hmm = subscription.hmm
        if not await hmm_get(hmm):
            return
        async with hmm.lock:
            _inactive(hmm, range_)
        await hmm_put(hmm)


_OPS = _HmmNotifierOps()


# ---- mirrors ---------------------------------------------------------------------------------------------


async def hmm_mirror_register(mirror: HmmMirror, mm: Any) -> int:
    """hmm_mirror_register(): the caller holds mmap_lock for writing and an mm_users reference.

    0, or -EINVAL (no mm, mirror or ops; registered already; dead mm), -ENOMEM (no notifier). The mirror keeps
    a reference on the hmm.
    """
    if mm is None or mirror is None or mirror.ops is None or mirror.hmm is not None:
        return -errno.EINVAL
    if mm.mm_users <= 0:
        return -errno.EINVAL
    hmm = await hmm_get_or_create(mm)
    if hmm is None:
        return -errno.ENOMEM
    async with hmm.mirrors_sem.write():
        # A non-blockable invalidation does not wait for this.
        await point("mirrors", hmm)
        hmm.mirrors.insert(0, mirror)
        mirror.hmm = hmm
    return 0


async def hmm_mirror_unregister(mirror: HmmMirror) -> None:
    """hmm_mirror_unregister(): upon return no callback of this mirror runs or will run.

    Twice, also by two threads at once, is harmless: mirror.lock lets one take the reference.
    Sleeps; not from a callback.
    """
    async with mirror.lock:
        hmm, mirror.hmm = mirror.hmm, None
        if hmm is None:
            return
        async with hmm.mirrors_sem.write():
            hmm.mirrors.remove(mirror)
    await hmm_put(hmm)


async def hmm_mirror_wait_idle(mirror: HmmMirror) -> None:
    """hmm_range_wait_until_valid(): sleeps while the process is being invalidated. No locks held."""
    hmm = await _mirror_hmm(mirror)
    if hmm is not None:
        await hmm.wq.wait(lambda: not hmm.active)
        await hmm_put(hmm)


async def _mirror_hmm(mirror: HmmMirror) -> Hmm | None:
    """The hmm of a mirror with one more reference; None once it is unregistered.

    The mirror's own reference keeps the hmm, and mirror.lock keeps that: no lookup through the mm.
    """
    async with mirror.lock:
        hmm = mirror.hmm
        if hmm is not None:
            await hmm.kref.get()
    return hmm


# ---- ranges ----------------------------------------------------------------------------------------------


async def _range_begin(mirror: HmmMirror, rng: HmmVmaRange) -> tuple[int, Hmm | None]:
    """Checks and registers a range: 0 and the hmm, with references on it and the address space.

    The hmm is not yet in rng.hmm. With mm_users held exit_mmap() does not run while a range exists, so its
    release() cannot miss one. A range that is active, in this thread or in another, is a bug of the driver.
    """
    warn_on(rng.hmm is not None, "hmm_range is active already")
    vma = rng.vma
    if not vma.vm_start <= rng.start < rng.end <= vma.vm_end:
        return -errno.EINVAL, None
    hmm = await _mirror_hmm(mirror)
    if hmm is None:
        return -errno.EINVAL, None
    ret = _range_check(rng, hmm)
    if ret == 0 and not await hmm.mm.mmget_not_zero():
        ret = -errno.EINVAL
    if ret:
        await hmm_put(hmm)
        return ret, None
    async with hmm.lock:
        warn_on(rng in hmm.ranges, "hmm_range is used by two threads")
        busy = any(a.start < rng.end and rng.start < a.end for a in hmm.active)
        rng.begin_seq = hmm.seq
        # An invalidation that began earlier may still change PTEs: a range that meets it is not valid.
        rng.stale_seq = hmm.seq + 1 if busy else 0
        hmm.ranges.append(rng)
    return 0, hmm


def _range_check(rng: HmmVmaRange, hmm: Hmm) -> int:
    """-EINVAL (another process, special VMA), -EPERM (no VM_READ); pfns are cleared for the last two."""
    vma = rng.vma
    if hmm.mm is not vma.vm_mm:
        return -errno.EINVAL
    hmm.mm.mmap_lock.assert_held()
    if vma.vm_flags & VM_SPECIAL or not vma.vm_flags & VM_READ:
        rng.pfns[:] = 0
        return -errno.EINVAL if vma.vm_flags & VM_SPECIAL else -errno.EPERM
    return 0


async def _range_end(hmm: Hmm, rng: HmmVmaRange) -> bool:
    """Takes the range off and drops what it held. The address space may be torn down, but not by this thread:
    it has the driver's lock, and release() may want it.
    """
    async with hmm.lock:
        hmm.ranges.remove(rng)
        valid = rng.stale_seq <= rng.begin_seq
    await hmm.mm.mmput_async()
    await hmm_put(hmm)
    return valid


class WalkRange:
    """Lets the page walker of sw_model.hmm work for a range of this API."""

    def __init__(self, rng: StructHmmRange, hmm: StructHmm, fault: bool) -> None:
        self.notifier = hmm
        self.start = rng.start
        self.end = rng.end
        self.pfns = rng.pfns
        self.default_flags = rng.default_flags if fault else 0
        self.pfn_flags_mask = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE if fault else 0
        self.dev_private_owner = None


async def hmm_vma_get_pfns(mirror: HmmMirror, rng: HmmVmaRange) -> int:
    """hmm_vma_get_pfns(): snapshot the CPU page table, no faults. The caller holds mmap_lock.

    0: rng.hmm holds a reference, and hmm_vma_range_done() must follow. -EINVAL (bounds, special VMA, no
    mirror, dead mm), -EPERM (no VM_READ; pfns cleared). After an error there is nothing to end.
    """
    ret, hmm = await _range_begin(mirror, rng)
    if hmm is None:
        return ret
    try:
        await Walk(WalkRange(rng, hmm, False)).run(rng.start, rng.end)
    except WalkFail as e:
        await _range_end(hmm, rng)
        return e.code
    rng.hmm = hmm
    return 0


async def hmm_vma_fault(mirror: HmmMirror, rng: HmmVmaRange, block: bool = True) -> int:
    """hmm_vma_fault(): like hmm_vma_get_pfns(), and fault the pages that are requested. mmap_lock is kept.

    0: rng.hmm holds a reference, and hmm_vma_range_done() must follow. -EBUSY: not `block`, and a fault is
    needed while the range is being invalidated. -EFAULT, -ENOMEM, -EPERM (write to a read-only VMA), and the
    errors of hmm_vma_get_pfns(). After an error the range is ended already, once.
    """
    ret, hmm = await _range_begin(mirror, rng)
    if hmm is None:
        return ret
    walk = Walk(WalkRange(rng, hmm, True))
    requests = rng.pfns.copy()
    while True:
        if not block and rng.stale_seq > rng.begin_seq:
            ret = -errno.EBUSY
            break
        try:
            await walk.run(walk.last, rng.end)
        except WalkBusy:
            continue
        except WalkFail as e:
            ret = e.code
        break
    if ret:
        rng.pfns[:] = requests
        await _range_end(hmm, rng)
        return ret
    rng.hmm = hmm
    return 0


async def hmm_vma_range_done(rng: HmmVmaRange) -> bool:
    """hmm_vma_range_done(): ends the range; True when its pfns were still valid. With the driver's lock held.

    Once per successful get_pfns or fault: raises KernelBug otherwise, also when two threads end one range
    (rng.hmm is set last and cleared in the step that reads it). Valid means that no invalidation was running
    when the range began and none met it since; a sequence tells, so one that began and ended in between
    counts. The pfns of an invalid range are not to be used.
    """
    await point("range", rng)
    hmm = rng.hmm
    if hmm is None or rng.end <= rng.start:
        raise KernelBug("hmm_vma_range_done of a range that is not active")
    rng.hmm = None
    return await _range_end(hmm, rng)
