"""The HMM mirror API as posted in January 2019: "mm/hmm: use reference counting for HMM struct", version 1.

A model of old code with all its bugs, for the explorer; sw_model.hmm_mirror is the version to use. The
functions have their names of then and are methods of one object, which is hmm_mmu_notifier_ops too;
sw_model.hmm_v3 replaces the few that changed before the patch was merged. B1 to B20 are its bugs,
docs/generations.md lists them.

| function | references on the hmm | locks | result |
|---|---|---|---|
| hmm_get(mm) | +1 unless the count is 0 | none | hmm or None |
| hmm_register(mm) | +1 | page_table_lock; the caller mmap_lock for writing | hmm or None |
| hmm_put(hmm) | -1, the last one calls hmm_free() | page_table_lock | |
| hmm_mm_destroy(mm) | +1, -1 | page_table_lock | mm->hmm and hmm->mm are NULL |
| hmm_release | +1, -1 | mirrors_sem for writing, not around the mirror's release() | |
| hmm_invalidate_range_start | +1, -1 | hmm->lock, mirrors_sem for reading | 0, -EAGAIN if not blockable |
| hmm_invalidate_range_end | +1, -1 | hmm->lock; tells no mirror | |
| hmm_mirror_register | the mirror keeps +1 | mirrors_sem; the caller mmap_lock for writing | 0 or an error |
| hmm_mirror_unregister | -1 | mirrors_sem | |
| hmm_vma_get_pfns, hmm_vma_fault | 0: the range keeps +1 | hmm->lock; the caller mmap_lock | 0 or an error |
| hmm_vma_range_done | -1 | hmm->lock; the caller the driver's lock | were the pfns valid |
"""

from __future__ import annotations

import contextlib
import errno
from typing import Any

from sw_model.fault import VM_FAULT_ERROR, VM_FAULT_RETRY
from sw_model.hmm import _NEED_WRITE, HMM_PFN_ERROR, PAGE_SHIFT, Walk, WalkBusy, WalkFail
from sw_model.hmm_mirror import HmmMirror, HmmUpdate, StructHmm, StructHmmRange, WalkRange, kfree_hmm
from sw_model.locking import KernelBug
from sw_model.mmu_notifier import (
    MmuNotifierOps,
    MmuNotifierRange,
    mmu_notifier_register_locked,
    mmu_notifier_unregister_no_release,
)
from sw_model.pagetable import PAGE_SIZE, PteKind
from sw_model.sched import point
from sw_model.vma import VM_READ, VM_SPECIAL


class HmmRange(StructHmmRange):
    """struct hmm_range of the patch: `valid` until an invalidation meets it on the list."""

    valid = False


class _Walk(Walk):
    """The page walk of then."""

    async def entry(self, vma: Any, addr: int, stop: int) -> int:
        """hmm_vma_handle_pte(): -EFAULT for an entry of an unknown kind, asked for or not."""
        if self.mm.pte(addr).kind is PteKind.HWPOISON:
            self.fill(addr, addr + PAGE_SIZE, HMM_PFN_ERROR)
            raise WalkFail(-errno.EFAULT)
        return await super().entry(vma, addr, stop)

    async def fault(self, vma: Any, addr: int, end: int, need: int) -> None:
        """hmm_vma_do_fault(): FAULT_FLAG_ALLOW_RETRY whatever `block` says (B17). -EBUSY, -EFAULT."""
        self.last = addr
        for a in range(addr, end, PAGE_SIZE):
            ret = await self.mm.handle_mm_fault(vma, a, bool(need & _NEED_WRITE), allow_retry=True)
            if ret & VM_FAULT_RETRY:
                raise WalkFail(-errno.EBUSY)
            if ret & VM_FAULT_ERROR:
                raise WalkFail(-errno.EFAULT)
        raise WalkBusy


class HmmV1(MmuNotifierOps):
    """mm/hmm.c with the patch. The state is in the mm, the hmm, the mirrors and the ranges."""

    # An end after a failed start only makes ranges invalid.
    end_after_failed_start = True

    # ---- struct hmm --------------------------------------------------------------------------------------

    async def hmm_get(self, mm: Any) -> StructHmm | None:
        """hmm_get(): takes an mm where hmm_put() takes an hmm. Nothing keeps what mm->hmm points to (B5)."""
        await point("hmm", mm)
        hmm = mm.hmm
        if hmm is not None and await hmm.kref.get_unless_zero():
            return hmm
        return None

    async def hmm_register(self, mm: Any) -> StructHmm | None:
        """hmm_register(): publishes the hmm, then registers its notifier (B9).

        None, which becomes -ENOMEM, also when mm->hmm is set but dying (B8).
        """
        hmm = await self.hmm_get(mm)
        if hmm is not None:
            return hmm
        hmm = StructHmm(mm, self)
        mm.hmm_mm_destroy = self.hmm_mm_destroy
        async with mm.page_table_lock:
            cleanup = mm.hmm is not None
            if not cleanup:
                mm.hmm = hmm
        if cleanup:
            kfree_hmm(hmm)
            return None
        if await mmu_notifier_register_locked(hmm.mmu_notifier, mm):
            async with mm.page_table_lock:
                if mm.hmm is hmm:
                    mm.hmm = None
            kfree_hmm(hmm)
            return None
        return hmm

    async def hmm_free(self, hmm: StructHmm) -> None:
        """hmm_free(): unlinks the notifier, which drops the mm, uses the mm (B6), frees at once (B5, B20)."""
        mm = hmm.mm
        await mmu_notifier_unregister_no_release(hmm.mmu_notifier, mm)
        async with mm.page_table_lock:
            if mm.hmm is hmm:
                mm.hmm = None
        kfree_hmm(hmm)

    async def hmm_put(self, hmm: StructHmm) -> None:
        """hmm_put()."""
        if await hmm.kref.put():
            await self.hmm_free(hmm)

    async def hmm_mm_destroy(self, mm: Any) -> None:
        """hmm_mm_destroy(), of __mmdrop(): a live hmm's notifier pins the mm, so it finds none (B1, B7)."""
        async with mm.page_table_lock:
            hmm = await self.hmm_get(mm)
            mm.hmm = None
            if hmm is not None:
                hmm.mm = None
        if hmm is not None:
            await self.hmm_put(hmm)

    # ---- notifier callbacks ------------------------------------------------------------------------------

    def destroyed(self, hmm: StructHmm) -> bool:
        """Has hmm_mm_destroy() been called? Where this is true the callback forgets its reference (B1)."""
        return hmm.mm is None

    async def hmm_invalidate_range(self, hmm: StructHmm, device: bool, update: HmmUpdate) -> int:
        """hmm_invalidate_range(): ends ranges that it meets, or touches at their start (B19)."""
        async with hmm.lock:
            for rng in hmm.ranges:
                if update.end < rng.start or update.start >= rng.end:
                    continue
                rng.valid = False
                first = (max(update.start, rng.start) - rng.start) >> PAGE_SHIFT
                rng.pfns[first : (min(rng.end, update.end) - rng.start) >> PAGE_SHIFT] = 0
        if not device:
            return 0
        async with hmm.mirrors_sem.read():
            for mirror in hmm.mirrors:
                assert mirror.ops is not None
                ret = await mirror.ops.sync_cpu_device_pagetables(mirror, update)
                if not update.blockable and ret == -errno.EAGAIN:
                    return ret
        return 0

    async def _invalidate(self, name: str, range_: MmuNotifierRange, device: bool, blockable: bool) -> int:
        hmm = await self.hmm_get(range_.mm)
        if hmm is None:
            raise KernelBug(f"VM_BUG_ON(!hmm) in {name}")
        await point("hmm->mm", hmm)
        if self.destroyed(hmm):
            return 0
        update = HmmUpdate(range_.start, range_.end, blockable, range_.event)
        ret = await self.hmm_invalidate_range(hmm, device, update)
        await self.hmm_put(hmm)
        return ret

    async def hmm_invalidate_range_start(self, mn: Any, range_: MmuNotifierRange) -> int:
        """hmm_invalidate_range_start(): BUG when the last reference is gone (B4)."""
        return await self._invalidate("hmm_invalidate_range_start", range_, True, range_.blockable)

    async def hmm_invalidate_range_end(self, mn: Any, range_: MmuNotifierRange) -> None:
        """hmm_invalidate_range_end(): a range that began after the start is valid, whatever it read (B13)."""
        await self._invalidate("hmm_invalidate_range_end", range_, False, True)

    async def hmm_release(self, mn: Any, mm: Any) -> None:
        """hmm_release(): tells each mirror without the lock that keeps it (B12). No NULL check (B3)."""
        hmm: Any = await self.hmm_get(mm)
        await hmm.mirrors_sem.down_write()
        while hmm.mirrors:
            mirror = hmm.mirrors.pop(0)
            hmm.mirrors_sem.up_write()
            await mirror.ops.release(mirror)
            await hmm.mirrors_sem.down_write()
        hmm.mirrors_sem.up_write()
        await self.hmm_put(hmm)

    async def release(self, subscription: Any, mm: Any) -> None:  # type: ignore[override]
        """hmm_release()."""
        await self.hmm_release(subscription, mm)

    async def invalidate_range_start(self, subscription: Any, range_: Any) -> int:  # type: ignore[override]
        """hmm_invalidate_range_start()."""
        return await self.hmm_invalidate_range_start(subscription, range_)

    async def invalidate_range_end(self, subscription: Any, range_: Any) -> None:  # type: ignore[override]
        """hmm_invalidate_range_end()."""
        await self.hmm_invalidate_range_end(subscription, range_)

    # ---- mirrors -----------------------------------------------------------------------------------------

    async def hmm_mirror_register(self, mirror: HmmMirror, mm: Any) -> int:
        """hmm_mirror_register(): 0, -EINVAL (no mm, mirror or ops), -ENOMEM (hmm_register() gave None)."""
        if mm is None or mirror is None or mirror.ops is None:
            return -errno.EINVAL
        hmm: Any = await self.hmm_register(mm)
        mirror.hmm = hmm
        if hmm is None:
            return -errno.ENOMEM
        async with hmm.mirrors_sem.write():
            hmm.mirrors.insert(0, mirror)
        return 0

    async def hmm_mirror_unregister(self, mirror: HmmMirror) -> None:
        """hmm_mirror_unregister(): nothing lets only one of two callers take the reference (B11)."""
        await point("mirror", mirror)
        hmm: Any = mirror.hmm
        if hmm is None:
            return
        async with hmm.mirrors_sem.write():
            if mirror in hmm.mirrors:
                hmm.mirrors.remove(mirror)
            mirror.hmm = None
        await self.hmm_put(hmm)

    # ---- ranges ------------------------------------------------------------------------------------------

    async def _begin(self, rng: HmmRange) -> tuple[int, Any]:
        """What get_pfns and fault begin with: an error, or 0 and the hmm with the range on its list.

        Without a mirror an hmm is made here, although mmap_lock is held for reading only (B10).
        """
        rng.hmm = None
        vma = rng.vma
        if rng.start < vma.vm_start or rng.start >= vma.vm_end:
            return -errno.EINVAL, None
        if rng.end < vma.vm_start or rng.end > vma.vm_end:
            return -errno.EINVAL, None
        hmm = await self.hmm_register(vma.vm_mm)
        if hmm is None:
            return -errno.ENOMEM, None
        ret = 0
        if hmm.mm is None:
            ret = -errno.EINVAL
        elif vma.vm_flags & VM_SPECIAL:
            rng.pfns[:] = HMM_PFN_ERROR
            ret = -errno.EINVAL
        elif not vma.vm_flags & VM_READ:
            rng.pfns[:] = 0
            ret = -errno.EPERM
        if ret:
            await self.hmm_put(hmm)
            return ret, None
        async with hmm.lock:
            rng.valid = True
            hmm.ranges.append(rng)
        return 0, hmm

    async def hmm_vma_get_pfns(self, rng: HmmRange) -> int:
        """hmm_vma_get_pfns(): snapshot. The caller holds mmap_lock for reading.

        0: hmm_vma_range_done() must follow; also when the walk failed (B16). -EINVAL (bounds, special VMA,
        dead mm), -ENOMEM, -EPERM (no VM_READ).
        """
        ret, hmm = await self._begin(rng)
        if ret:
            return ret
        with contextlib.suppress(WalkFail):
            await _Walk(WalkRange(rng, hmm, False)).run(rng.start, rng.end)
        rng.hmm = hmm
        return 0

    async def hmm_vma_range_done(self, rng: HmmRange) -> bool:
        """hmm_vma_range_done(): ends the range; True when its pfns are valid. BUG() when it is not active."""
        await point("range", rng)
        if rng.hmm is None or rng.end <= rng.start:
            raise KernelBug("BUG() in hmm_vma_range_done: the range is not active")
        hmm = rng.hmm
        async with hmm.lock:
            hmm.ranges.remove(rng)
            valid = rng.valid
        if hmm.mm is None:
            valid = False
        await self.hmm_put(hmm)
        rng.hmm = None
        return valid

    async def hmm_vma_fault(self, rng: HmmRange, block: bool = True) -> int:
        """hmm_vma_fault(): snapshot with faults. The caller holds mmap_lock for reading.

        0: hmm_vma_range_done() must follow. -EBUSY: mmap_lock has been dropped; the comment calls it -EAGAIN
        and asks for hmm_vma_range_done(), which has been called already (B18). -EFAULT, and the errors of
        hmm_vma_get_pfns(). `block` is not looked at (B17).
        """
        ret, hmm = await self._begin(rng)
        if ret:
            return ret
        walk = _Walk(WalkRange(rng, hmm, True))
        while True:
            try:
                await walk.run(walk.last, rng.end)
            except WalkBusy:
                continue
            except WalkFail as e:
                ret = e.code
            break
        if ret:
            rng.pfns[(walk.last - rng.start) >> PAGE_SHIFT :] = 0
            await self.fault_failed(rng, hmm)
            return ret
        rng.hmm = hmm
        return 0

    async def fault_failed(self, rng: HmmRange, hmm: StructHmm) -> None:
        """The end of a failed hmm_vma_fault(): hmm_vma_range_done() of a range that has no hmm yet (B2)."""
        await self.hmm_vma_range_done(rng)
        await self.hmm_put(hmm)


V1 = HmmV1()
