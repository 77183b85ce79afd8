"""MMU notifiers: how the memory manager tells secondary MMUs that page tables change.

Models mm/mmu_notifier.c of Linux 7.3: classic notifiers (a list walked under SRCU) and interval notifiers
(a sequence count per mm that lets a reader find out that it collided with an invalidation).

An `mm` needs: `mmap_lock` (RwSem), `mm_users` and `mm_count` (int), `async mmgrab()`, `async mmdrop()` and
an attribute `notifier_subscriptions` that starts as None. Addresses are bytes; ranges are [start, end).

Three places differ from Linux on purpose: a failed classic start also ends the interval side (Linux leaks
`active_invalidate_ranges` there), a waiting remove tests the sequence under the lock, and
`mm_take_all_locks()` is a wait until no invalidation is between its start and its end.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import Any, Protocol

from sw_model.lockdep import INVALIDATE_START, NON_BLOCK
from sw_model.locking import RwSem, SpinLock, Srcu, kfree, warn_on
from sw_model.sched import WaitQueue, point, signal_pending

ULONG_MAX = (1 << 64) - 1


class MmuNotifyEvent(IntEnum):
    """enum mmu_notifier_event."""

    UNMAP = 0  # the addresses go away
    CLEAR = 1  # PTEs are cleared or replaced, the VMA stays
    PROTECTION_VMA = 2  # mprotect
    PROTECTION_PAGE = 3  # single PTEs lose write permission
    SOFT_DIRTY = 4
    RELEASE = 5  # exit_mmap
    MIGRATE = 6  # to or from device memory; see owner
    EXCLUSIVE = 7  # device-exclusive access; see owner


class Mm(Protocol):
    """What a notifier needs of an mm_struct."""

    mmap_lock: RwSem
    mm_users: int
    mm_count: int
    notifier_subscriptions: NotifierSubscriptions | None

    async def mmgrab(self) -> None:
        """Pin the structure."""

    async def mmdrop(self) -> None:
        """Drop a pin of the structure."""


class MmuNotifierRange:
    """struct mmu_notifier_range: one invalidation of [start, end) of `mm`."""

    def __init__(
        self,
        mm: Any,
        start: int,
        end: int,
        event: MmuNotifyEvent,
        blockable: bool = True,
        owner: object = None,
    ) -> None:
        self.mm = mm
        self.start = start
        self.end = end
        self.event = event
        self.blockable = blockable
        self.owner = owner

    def __repr__(self) -> str:
        block = "" if self.blockable else " nonblock"
        return f"<{self.event.name} {self.start:#x}-{self.end:#x}{block}>"


class MmuNotifierOps:
    """struct mmu_notifier_ops: async callbacks of a classic notifier; those left None are not called.

    - `release(subscription, mm)`: the address space goes away (exit_mmap).
    - `invalidate_range_start(subscription, range) -> int`: 0, or -EAGAIN if the range is not blockable.
    - `invalidate_range_end(subscription, range)`; also called after a failed start, which it must expect
      (`end_after_failed_start`) where a start can fail.
    - `alloc_notifier(mm) -> subscription | None` and `free_notifier(subscription)`: for get and put.
    """

    end_after_failed_start = False
    release: Callable[..., Awaitable[None]] | None = None
    invalidate_range_start: Callable[..., Awaitable[int]] | None = None
    invalidate_range_end: Callable[..., Awaitable[None]] | None = None
    alloc_notifier: Callable[..., Awaitable[Any]] | None = None
    free_notifier: Callable[..., Awaitable[None]] | None = None


class MmuNotifier:
    """struct mmu_notifier. Embed it or subclass it; it must live until a grace period after removal."""

    def __init__(self, ops: MmuNotifierOps | None = None) -> None:
        self.ops = ops
        self.mm: Any = None
        self.users = 0
        self.next: MmuNotifier | None = None
        self.hashed = False


class MmuIntervalNotifierOps:
    """struct mmu_interval_notifier_ops.

    `async invalidate(sub, range, cur_seq) -> bool`: calls mmu_interval_set_seq() under the driver's lock;
    upon return the device no longer uses the range. False only when the range is not blockable and it would
    block.

    Two passes: `async invalidate_start(sub, range, cur_seq) -> (bool, final)` takes the place of
    invalidate(). A `final` (MmuIntervalNotifierFinish) goes to `async invalidate_finish(final)` once every
    notifier has started: the first pass sets the sequence and starts the flush, the second waits for it.
    """

    invalidate_start: Callable[..., Awaitable[tuple[bool, MmuIntervalNotifierFinish | None]]] | None = None
    invalidate_finish: Callable[..., Awaitable[None]] | None = None

    async def invalidate(self, sub: MmuIntervalNotifier, range_: MmuNotifierRange, cur_seq: int) -> bool:
        """Stop using the range."""
        raise NotImplementedError


class MmuIntervalNotifier:
    """struct mmu_interval_notifier: watches [start, last] of one mm."""

    def __init__(self) -> None:
        self.mm: Any = None
        self.ops: MmuIntervalNotifierOps | None = None
        self.start = 0
        self.last = 0
        self.invalidate_seq = 0
        self.in_tree = False
        self.deferred = False


class MmuIntervalNotifierFinish:
    """struct mmu_interval_notifier_finish: for the second pass of `notifier`. Embed or subclass it."""

    def __init__(self) -> None:
        self.notifier: Any = None


class NotifierSubscriptions:
    """struct mmu_notifier_subscriptions of one mm. `invalidate_seq` is odd while the tree is invalidated."""

    def __init__(self) -> None:
        self.first: MmuNotifier | None = None
        self.has_itree = False
        self.lock = SpinLock("subscriptions")
        self.invalidate_seq = 2
        self.active_invalidate_ranges = 0
        self.itree: list[MmuIntervalNotifier] = []
        self.deferred_list: list[MmuIntervalNotifier] = []
        self.wq = WaitQueue("invalidate_seq")
        self.srcu = Srcu()
        #: invalidations between start and end, for mm_take_all_locks
        self.sections = 0
        self.sections_wq = WaitQueue("mm_take_all_locks")

    @property
    def is_invalidating(self) -> bool:
        """mn_itree_is_invalidating()."""
        return bool(self.invalidate_seq & 1)

    def tree_next(
        self, after: MmuIntervalNotifier | None, start: int, last: int
    ) -> MmuIntervalNotifier | None:
        """interval_tree_iter_first/next(): the next overlapping node. Needs the lock or an odd sequence."""
        begin = 0 if after is None else self.itree.index(after) + 1
        for sub in self.itree[begin:]:
            if sub.start <= last and sub.last >= start:
                return sub
        return None

    def tree_insert(self, sub: MmuIntervalNotifier) -> None:
        """interval_tree_insert()."""
        warn_on(sub.in_tree, "interval notifier inserted twice")
        at = sum(other.start <= sub.start for other in self.itree)
        self.itree.insert(at, sub)
        sub.in_tree = True

    def tree_remove(self, sub: MmuIntervalNotifier) -> None:
        """interval_tree_remove()."""
        warn_on(not sub.in_tree, "interval notifier removed that is not in the tree")
        self.itree.remove(sub)
        sub.in_tree = False

    def hlist_add(self, subscription: MmuNotifier) -> None:
        """hlist_add_head_rcu()."""
        warn_on(subscription.hashed, "notifier registered twice")
        subscription.next = self.first
        subscription.hashed = True
        self.first = subscription

    def hlist_del(self, subscription: MmuNotifier) -> None:
        """hlist_del_init_rcu(): the node keeps its next pointer for readers that stand on it."""
        if not subscription.hashed:
            return
        if self.first is subscription:
            self.first = subscription.next
        else:
            node = self.first
            while node is not None and node.next is not subscription:
                node = node.next
            assert node is not None
            node.next = subscription.next
        subscription.hashed = False


def _subscriptions(mm: Mm) -> NotifierSubscriptions:
    subs = mm.notifier_subscriptions
    if subs is None:
        subs = mm.notifier_subscriptions = NotifierSubscriptions()
    return subs


def mmu_notifier_subscriptions_destroy(mm: Mm) -> None:
    """Called by __mmdrop(). Raises KernelBug when a notifier is still registered."""
    subs = mm.notifier_subscriptions
    if subs is not None:
        warn_on(subs.first is not None, "mm freed with a notifier registered")
        warn_on(subs.itree or subs.deferred_list, "mm freed with an interval notifier")
        warn_on(subs.active_invalidate_ranges, "mm freed during an invalidation")
        mm.notifier_subscriptions = None
        kfree(subs)


# ---- registration ----------------------------------------------------------------------------------------


async def mmu_notifier_register_locked(subscription: MmuNotifier | None, mm: Mm) -> int:
    """__mmu_notifier_register(): the caller holds mmap_lock for writing. 0, or -EINTR if it has been killed.

    Pins the mm (mmgrab) until unregister. With None it only enables interval notifiers.
    """
    mm.mmap_lock.assert_write_held()
    warn_on(mm.mm_users <= 0, "notifier registered on an mm without users")
    subs = _subscriptions(mm)
    if signal_pending():
        return -errno.EINTR
    if subscription is not None:
        await mm.mmgrab()
    # mm_take_all_locks(): no invalidation that began before may end, or still change PTEs, afterwards.
    await subs.sections_wq.wait(lambda: not subs.sections)
    if subscription is None:
        subs.has_itree = True
    else:
        subscription.mm = mm
        subscription.users = 1
        subs.hlist_add(subscription)
    return 0


async def mmu_notifier_register(subscription: MmuNotifier | None, mm: Mm) -> int:
    """mmu_notifier_register(): takes mmap_lock for writing. 0, or -EINTR if it has been killed."""
    async with mm.mmap_lock.write():
        return await mmu_notifier_register_locked(subscription, mm)


async def mmu_notifier_get_locked(ops: MmuNotifierOps, mm: Mm) -> MmuNotifier | int:
    """mmu_notifier_get_locked(): the notifier of (mm, ops), made by ops.alloc_notifier() at first.

    The caller holds mmap_lock for writing and drops the result with mmu_notifier_put(). -ENOMEM if the
    allocation fails, -EINTR if it has been killed.
    """
    mm.mmap_lock.assert_write_held()
    subs = _subscriptions(mm)
    async with subs.lock:
        node: MmuNotifier | None = subs.first
        while node is not None:
            if node.ops is ops:
                node.users += 1
                return node
            node = node.next
    assert ops.alloc_notifier is not None
    subscription = await ops.alloc_notifier(mm)
    if subscription is None:
        return -errno.ENOMEM
    subscription.ops = ops
    ret = await mmu_notifier_register_locked(subscription, mm)
    if ret:
        assert ops.free_notifier is not None
        await ops.free_notifier(subscription)
        return ret
    return subscription


async def mmu_notifier_get(ops: MmuNotifierOps, mm: Mm) -> MmuNotifier | int:
    """mmu_notifier_get(): takes mmap_lock for writing. A notifier, or the error of get_locked."""
    async with mm.mmap_lock.write():
        return await mmu_notifier_get_locked(ops, mm)


async def mmu_notifier_put(subscription: MmuNotifier) -> None:
    """mmu_notifier_put(): the last one unlinks; ops.free_notifier() and mmdrop() follow a grace period."""
    mm = subscription.mm
    subs = mm.notifier_subscriptions
    async with subs.lock:
        warn_on(subscription.users <= 0, "mmu_notifier_put of a notifier without users")
        subscription.users -= 1
        if subscription.users:
            return
        subs.hlist_del(subscription)

    async def free_rcu() -> None:
        ops = subscription.ops
        assert ops is not None and ops.free_notifier is not None
        await ops.free_notifier(subscription)
        await mm.mmdrop()

    await subs.srcu.call(free_rcu)


async def mmu_notifier_synchronize(mm: Mm) -> None:
    """mmu_notifier_synchronize(): waits until every delayed free of this mm has run."""
    subs = mm.notifier_subscriptions
    if subs is not None:
        await subs.srcu.barrier()


async def mmu_notifier_call_srcu(mm: Mm, callback: Callable[[], Awaitable[None]]) -> None:
    """mmu_notifier_call_srcu() (Linux 5.2): run `callback` when no walker can stand on an unlinked node."""
    await _subscriptions(mm).srcu.call(callback)


async def mmu_notifier_unregister(subscription: MmuNotifier, mm: Mm) -> None:
    """mmu_notifier_unregister(): calls release unless exit did, unlinks, waits for walkers, drops the mm pin.

    Sleeps; not from a callback. Upon return no callback runs or will run.
    """
    warn_on(mm.mm_count <= 0, "mmu_notifier_unregister on a freed mm")
    subs = mm.notifier_subscriptions
    assert subs is not None
    token = await subs.srcu.read_lock()
    if subscription.hashed:
        ops = subscription.ops
        if ops is not None and ops.release is not None:
            await ops.release(subscription, mm)
        async with subs.lock:
            subs.hlist_del(subscription)
    subs.srcu.read_unlock(token)
    await subs.srcu.synchronize()
    await mm.mmdrop()


async def mmu_notifier_unregister_no_release(subscription: MmuNotifier, mm: Mm) -> None:
    """mmu_notifier_unregister_no_release() (Linux 5.2): unlinks and drops the mm pin.

    Does not wait for walkers: the notifier is freed through mmu_notifier_call_srcu(), and the caller needs a
    pin of its own to touch the mm afterwards.
    """
    subs = mm.notifier_subscriptions
    assert subs is not None
    async with subs.lock:
        subs.hlist_del(subscription)
    await mm.mmdrop()


# ---- interval notifiers ----------------------------------------------------------------------------------


async def mmu_interval_notifier_insert_locked(
    sub: MmuIntervalNotifier, mm: Mm, start: int, length: int, ops: MmuIntervalNotifierOps
) -> int:
    """mmu_interval_notifier_insert_locked(): the caller holds mmap_lock for writing; see insert."""
    mm.mmap_lock.assert_write_held()
    if not _subscriptions(mm).has_itree:
        ret = await mmu_notifier_register_locked(None, mm)
        if ret:
            return ret
    return await _interval_insert(sub, mm, start, length, ops)


async def mmu_interval_notifier_insert(
    sub: MmuIntervalNotifier, mm: Mm, start: int, length: int, ops: MmuIntervalNotifierOps
) -> int:
    """mmu_interval_notifier_insert(): watch `length` bytes from `start`. The caller holds an mm_users
    reference.

    0, or -EOVERFLOW for an empty or wrapping range, -EINVAL when the mm has no users, -EINTR if killed.
    """
    if not _subscriptions(mm).has_itree:
        ret = await mmu_notifier_register(None, mm)
        if ret:
            return ret
    return await _interval_insert(sub, mm, start, length, ops)


async def _interval_insert(
    sub: MmuIntervalNotifier, mm: Mm, start: int, length: int, ops: MmuIntervalNotifierOps
) -> int:
    subs = _subscriptions(mm)
    warn_on(
        ops.invalidate_start is not None and ops.invalidate_finish is None,
        "a first pass without a second one",
    )
    if length <= 0 or start + length - 1 > ULONG_MAX:
        return -errno.EOVERFLOW
    if mm.mm_users <= 0:
        return -errno.EINVAL
    sub.mm, sub.ops, sub.start, sub.last = mm, ops, start, start + length - 1
    sub.in_tree = sub.deferred = False
    await mm.mmgrab()
    async with subs.lock:
        if subs.active_invalidate_ranges:
            if subs.is_invalidating:
                subs.deferred_list.insert(0, sub)
                sub.deferred = True
            else:
                subs.invalidate_seq |= 1
                subs.tree_insert(sub)
            sub.invalidate_seq = subs.invalidate_seq
        else:
            warn_on(subs.is_invalidating, "odd sequence without an active invalidation")
            # Odd, and not a value that the sequence will soon have.
            sub.invalidate_seq = subs.invalidate_seq - 1
            subs.tree_insert(sub)
    return 0


async def mmu_interval_notifier_remove(sub: MmuIntervalNotifier) -> None:
    """mmu_interval_notifier_remove(): upon return no callback runs or will run. Drops the mm pin.

    Sleeps while the tree is invalidated: not from a callback, not with a lock that callbacks take.
    """
    INVALIDATE_START.touch()
    mm = sub.mm
    subs = mm.notifier_subscriptions
    seq = 0
    async with subs.lock:
        if subs.is_invalidating:
            if not sub.in_tree:
                # Its insert is still deferred: cancel it.
                warn_on(not sub.deferred, "interval notifier removed twice")
                subs.deferred_list.remove(sub)
                sub.deferred = False
            else:
                warn_on(sub.deferred, "interval notifier removed twice")
                subs.deferred_list.insert(0, sub)
                sub.deferred = True
                seq = subs.invalidate_seq
        else:
            subs.tree_remove(sub)
    if seq:
        await _wait_seq_released(subs, seq)
    sub.mm = None
    await mm.mmdrop()


async def _wait_seq_released(subs: NotifierSubscriptions, seq: int) -> None:
    """mmu_interval_seq_released(): tests under the lock, so that the deferred list has been walked."""
    while True:
        await subs.wq.wait(lambda: subs.invalidate_seq != seq)
        async with subs.lock:
            if subs.invalidate_seq != seq:
                return


async def mmu_interval_read_begin(sub: MmuIntervalNotifier) -> int:
    """mmu_interval_read_begin(): the sequence of a read section; waits while its range is invalidated.

    Sleeps uninterruptibly: not with the driver's lock held. The result is odd.
    """
    INVALIDATE_START.touch()
    subs = sub.mm.notifier_subscriptions
    async with subs.lock:
        seq = sub.invalidate_seq
        invalidating = seq == subs.invalidate_seq
    if invalidating:
        await subs.wq.wait(lambda: subs.invalidate_seq != seq)
    warn_on(not seq & 1, "even sequence from mmu_interval_read_begin")
    return seq


def mmu_interval_read_retry(sub: MmuIntervalNotifier, seq: int) -> bool:
    """mmu_interval_read_retry(): True when the range was invalidated since `seq`.

    Needs the lock under which the driver calls mmu_interval_set_seq().
    """
    return sub.invalidate_seq != seq


async def mmu_interval_check_retry(sub: MmuIntervalNotifier, seq: int) -> bool:
    """mmu_interval_check_retry(): like read_retry without the lock; False proves nothing."""
    await point("seq", sub)
    return sub.invalidate_seq != seq


def mmu_interval_set_seq(sub: MmuIntervalNotifier, cur_seq: int) -> None:
    """mmu_interval_set_seq(): called in invalidate() under the driver's lock, always."""
    sub.invalidate_seq = cur_seq


# ---- invalidation ----------------------------------------------------------------------------------------


async def _itree_start(
    subs: NotifierSubscriptions, start: int, last: int
) -> tuple[MmuIntervalNotifier | None, int]:
    """mn_itree_inv_start_range()."""
    async with subs.lock:
        subs.active_invalidate_ranges += 1
        sub = subs.tree_next(None, start, last)
        if sub is not None:
            subs.invalidate_seq |= 1
        return sub, subs.invalidate_seq


async def _itree_end(subs: NotifierSubscriptions) -> None:
    """mn_itree_inv_end(): the last one makes the sequence even and runs deferred inserts and removes."""
    async with subs.lock:
        warn_on(subs.active_invalidate_ranges <= 0, "invalidate_range_end without start")
        subs.active_invalidate_ranges -= 1
        if subs.active_invalidate_ranges or not subs.is_invalidating:
            return
        subs.invalidate_seq += 1
        while subs.deferred_list:
            await point("seq", subs)
            sub = subs.deferred_list.pop(0)
            sub.deferred = False
            if sub.in_tree:
                subs.tree_remove(sub)
            else:
                subs.tree_insert(sub)
    subs.wq.wake_all()


async def _itree_invalidate(subs: NotifierSubscriptions, range_: MmuNotifierRange, last: int) -> int:
    """mn_itree_invalidate(): 0, or -EAGAIN with everything undone."""
    sub, seq = await _itree_start(subs, range_.start, last)
    finals: list[MmuIntervalNotifierFinish] = []
    ret = 0
    if not range_.blockable:
        NON_BLOCK.acquire()
    while sub is not None:
        if not await _itree_call(sub, range_, seq, finals):
            warn_on(range_.blockable, "a blockable invalidation was refused")
            ret = -errno.EAGAIN
            break
        sub = subs.tree_next(sub, range_.start, last)
    if finals:
        await _itree_finish(finals)
    if not range_.blockable:
        NON_BLOCK.release()
    if ret:
        await _itree_end(subs)
    return ret


async def _itree_call(
    sub: MmuIntervalNotifier, range_: MmuNotifierRange, seq: int, finals: list[MmuIntervalNotifierFinish]
) -> bool:
    """One notifier: its only pass, or the first of two."""
    ops = sub.ops
    assert ops is not None
    if ops.invalidate_start is None:
        return await ops.invalidate(sub, range_, seq)
    ok, final = await ops.invalidate_start(sub, range_, seq)
    if ok and final is not None:
        final.notifier = sub
        finals.append(final)
    return ok


async def _itree_finish(finals: list[MmuIntervalNotifierFinish]) -> None:
    """mn_itree_finish_pass(): the second pass, in the order of the first."""
    for final in finals:
        finish = final.notifier.ops.invalidate_finish
        assert finish is not None
        await finish(final)


async def _hlist_call(subs: NotifierSubscriptions, name: str, arg: Any) -> None:
    """Call an operation of every notifier in the list that has it; the caller holds the SRCU read lock."""
    node = subs.first
    while node is not None:
        call = getattr(node.ops, name, None)
        if call is not None:
            await call(node, arg)
        await point("hlist", node)
        node = node.next


async def _hlist_start(subs: NotifierSubscriptions, range_: MmuNotifierRange) -> int:
    """mn_hlist_invalidate_range_start(): on -EAGAIN the notifiers that succeeded get their end."""
    ret = 0
    token = await subs.srcu.read_lock()
    node = subs.first
    while node is not None:
        ops = node.ops
        if ops is not None and ops.invalidate_range_start is not None:
            if not range_.blockable:
                NON_BLOCK.acquire()
            r = await ops.invalidate_range_start(node, range_)
            if not range_.blockable:
                NON_BLOCK.release()
            if r:
                warn_on(range_.blockable or r != -errno.EAGAIN, f"invalidate_range_start returned {r}")
                paired = ops.invalidate_range_end is None or ops.end_after_failed_start
                warn_on(not paired, "a start that fails cannot have an end")
                ret = r
        await point("hlist", node)
        node = node.next
    if ret:
        await _hlist_call(subs, "invalidate_range_end", range_)
    subs.srcu.read_unlock(token)
    return ret


async def mmu_notifier_invalidate_range_start(range_: MmuNotifierRange) -> int:
    """mmu_notifier_invalidate_range_start(): secondary MMUs stop using [start, end). Before PTEs change.

    0: call ..._end() once the PTEs have changed. -EAGAIN, only if not blockable: nothing is pending, no end.
    """
    subs = _subscriptions(range_.mm)
    subs.sections += 1
    ret = 0
    INVALIDATE_START.acquire()
    if subs.has_itree:
        ret = await _itree_invalidate(subs, range_, range_.end - 1)
    if not ret and subs.first is not None:
        ret = await _hlist_start(subs, range_)
        if ret and subs.has_itree:
            # Without it the count stays up for ever and every later reader hangs.
            await _itree_end(subs)
    INVALIDATE_START.release()
    if ret:
        _section_done(subs)
    return ret


async def mmu_notifier_invalidate_range_end(range_: MmuNotifierRange) -> None:
    """mmu_notifier_invalidate_range_end(): the PTEs have changed; readers may start again."""
    subs = _subscriptions(range_.mm)
    if subs.has_itree:
        await _itree_end(subs)
    if subs.first is not None:
        INVALIDATE_START.acquire()
        token = await subs.srcu.read_lock()
        await _hlist_call(subs, "invalidate_range_end", range_)
        subs.srcu.read_unlock(token)
        INVALIDATE_START.release()
    _section_done(subs)


def _section_done(subs: NotifierSubscriptions) -> None:
    warn_on(subs.sections <= 0, "invalidate_range_end without start")
    subs.sections -= 1
    if not subs.sections:
        subs.sections_wq.wake_all()


async def mmu_notifier_release(mm: Mm) -> None:
    """__mmu_notifier_release(): called by exit_mmap() when mm_users is 0, before anything is unmapped.

    Interval notifiers get one blockable RELEASE of everything; classic ones get release() and are unlinked.
    """
    subs = mm.notifier_subscriptions
    if subs is None:
        return
    if subs.has_itree:
        range_ = MmuNotifierRange(mm, 0, ULONG_MAX, MmuNotifyEvent.RELEASE)
        warn_on(await _itree_invalidate(subs, range_, ULONG_MAX), "RELEASE was refused")
        await _itree_end(subs)
    if subs.first is not None:
        token = await subs.srcu.read_lock()
        await _hlist_call(subs, "release", mm)
        async with subs.lock:
            while subs.first is not None:
                subs.hlist_del(subs.first)
        subs.srcu.read_unlock(token)
        await subs.srcu.synchronize()
