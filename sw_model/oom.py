"""The OOM reaper and process_mrelease(): drop the memory of a dying process without waiting (oom_kill.c)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from sw_model.mm_ops import MmuGather, unmap_page_range
from sw_model.mmu_notifier import (
    MmuNotifierRange,
    MmuNotifyEvent,
    mmu_notifier_invalidate_range_end,
    mmu_notifier_invalidate_range_start,
)
from sw_model.vma import VM_HUGETLB, VM_SHARED, VM_SPECIAL, Vma

if TYPE_CHECKING:
    from sw_model.mm import MmStruct


async def zap_vma_for_reaping(vma: Vma) -> int:
    """Drop the pages of one VMA, which remains. 0, or -EAGAIN: a notifier would block, nothing is done.

    The caller holds mmap_lock.
    """
    mm = vma.vm_mm
    mm.mmap_lock.assert_held()
    r = MmuNotifierRange(mm, vma.vm_start, vma.vm_end, MmuNotifyEvent.CLEAR, blockable=False)
    if await mmu_notifier_invalidate_range_start(r):
        return -errno.EAGAIN
    tlb = MmuGather(mm.phys)
    await unmap_page_range(mm, vma.vm_start, vma.vm_end, tlb)
    await mmu_notifier_invalidate_range_end(r)
    await tlb.finish()
    return 0


async def oom_reap_task_mm(mm: MmStruct) -> bool:
    """Drop the private memory of a process; it may still exit at the same time. The caller holds mm_count.

    False when something is left: mmap_lock is taken, or a notifier would have to block.
    """
    if not await mm.mmap_lock.down_read_trylock():
        return False
    done = True
    for vma in list(mm.vma_list.all):
        private = vma.is_anon or not vma.vm_flags & VM_SHARED
        if private and not vma.vm_flags & (VM_HUGETLB | VM_SPECIAL):
            done = await zap_vma_for_reaping(vma) == 0 and done
    mm.mmap_lock.up_read()
    return done
