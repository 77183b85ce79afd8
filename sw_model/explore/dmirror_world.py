"""Worlds over the real dmirror and device memory: a process, its device, and who gets the memory next.

Every access and every entry of the device is checked against the page tables, and every frame that is freed
against the device (`Watch`). `Script` is a generated operation sequence: a thread that picks its next
operation with choose() and checks the result against plain bytes and permissions.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw_model.devmem import MEMORY_DEVICE_COHERENT, MEMORY_DEVICE_PRIVATE
from sw_model.dmirror import TAG_WRITE, Dmirror, DmirrorDevice
from sw_model.explore.notes import note
from sw_model.explore.world import Stale, now
from sw_model.locking import is_freed, kfree
from sw_model.mm import MADV_DONTNEED, PROT_READ, PROT_WRITE, MmStruct, SegvError
from sw_model.pagetable import DEVP, DEVX, MIG, PAGE_SHIFT, PS, ZERO, P, W
from sw_model.phys import PG_DEVICE_PRIVATE, PhysMem
from sw_model.sched import Scheduler

PAGE = 4096
BASE = 0x1000_0000
DEVICE_PAGES = 4
RW = PROT_READ | PROT_WRITE
_ANON_FIXED = 0x32
#: the neighbour's pages hold this
FOREIGN = 0xEE


class BusError(OSError):
    """The device drove an address at which there is no memory: errno EIO."""

    def __init__(self, text: str) -> None:
        super().__init__(errno.EIO, text)


class Watch:
    """The device may map and touch a page only as the page table of its process has it at that moment.

    A page that is being migrated may be touched in the device's own memory, old or new. With `accesses_only`
    a wrong entry is left until the device uses it.
    """

    def __init__(self, phys: PhysMem, device: DmirrorDevice, accesses_only: bool = False) -> None:
        self.phys = phys
        self.device = device
        if not accesses_only:
            phys.add_observer(self)

    def who(self, frame: int) -> str:
        """Whose frame it is."""
        pagemap = self.device.pagemap
        pfn = frame - pagemap.nr_pages if self.device.owns(frame) and pagemap.private else frame
        maps = self.phys.rmap.get(pfn)
        if maps:
            mm, addr = maps[0]
            return f"page {addr >> PAGE_SHIFT:#x} of {mm.name}"
        return "in use" if self.phys.refcount[pfn] > 0 else "free"

    def good(self, mm: Any, vpn: int, frame: int, write: bool) -> bool:
        """True when the page table allows the device's entry."""
        e = mm.pt.entry(vpn << PAGE_SHIFT)
        if e & P:
            pfn = self.phys.zero_pfn if e & ZERO else (e >> 12) + (vpn & 511 if e & PS else 0)
            return pfn == frame and not (write and not e & W)
        if e & DEVX:
            return e >> 12 == frame
        if e & DEVP:
            return self.device.pagemap.backing(e >> 12) == frame and not (write and not e & W)
        return bool(e & MIG) and self.device.owns(frame)

    def access(self, fd: Dmirror, vpn: int, frame: int, write: bool) -> None:
        """The device touches a page. Raises Stale, BusError."""
        what = "writes" if write else "reads"
        note(f"device: {what} {vpn:#x} in frame {frame}")
        if self.phys.flags[frame] & PG_DEVICE_PRIVATE:
            raise BusError(f"the device {what} frame {frame}, a device-private page: no memory there")
        if not self.good(fd.mm, vpn, frame, write):
            pte = fd.mm.pt.lookup(vpn << PAGE_SHIFT)
            raise Stale(
                f"the device {what} page {vpn:#x} in frame {frame} ({self.who(frame)}), "
                f"the CPU has {pte.kind.name}{'' if pte.pfn < 0 else f' {pte.pfn}'}"
            )

    def on_pte_set(self, mm: Any, vaddr: int, pfn: int, nr: int, writable: bool) -> None:
        """An entry is written."""
        self._changed(mm, vaddr >> PAGE_SHIFT, nr)

    def on_pte_clear(self, mm: Any, vaddr: int, nr: int) -> None:
        """An entry goes away."""
        self._changed(mm, vaddr >> PAGE_SHIFT, nr)

    def _changed(self, mm: Any, vpn: int, nr: int) -> None:
        for fd in self.device.mirrors:
            if fd.mm is mm:
                self.entries(fd, range(vpn, vpn + nr), "leaves the page table")

    def entries(self, fd: Dmirror, vpns: Any, what: str) -> None:
        """Every entry of the device agrees with the page table. Raises Stale."""
        for v in vpns:
            entry = fd.pt.get(v)
            if entry is not None and not self.good(fd.mm, v, entry[0], entry[1] == TAG_WRITE):
                raise Stale(f"page {v:#x} {what}, the device maps frame {entry[0]} ({self.who(entry[0])})")

    def on_frame_free(self, pfn: int, nr: int) -> None:
        """Frames go back to the allocator, or pages to the device's memory."""
        for fd in self.device.mirrors:
            for v, entry in fd.pt.items():
                if pfn <= entry[0] < pfn + nr:
                    raise Stale(f"frame {entry[0]} is freed while the device maps page {v:#x} to it")


class Mirror(Dmirror):
    """A Dmirror whose accesses are checked."""

    watch: Watch

    def _page(self, vpn: int, frame: int, write: bool) -> NDArray[np.uint8]:
        self.watch.access(self, vpn, frame, write)
        return super()._page(vpn, frame, write)

    @classmethod
    async def open_watched(cls, device: DmirrorDevice, mm: MmStruct, watch: Watch) -> Any:
        """Open the device, and have its accesses checked."""
        self = await cls.open(device, mm)
        assert isinstance(self, cls)
        self.watch = watch
        return self

    async def close(self) -> None:
        """dmirror_fops_release(), with its kfree()."""
        await super().close()
        kfree(self)


class DmirrorWorld:
    """A process with `pages` pages, each filled with its number + 1, and an open file of the device.

    `neighbour`: another process has the same device open too, and so many pages of its own.
    `accesses_only`: see Watch.
    """

    mirror = Mirror
    kind = MEMORY_DEVICE_PRIVATE
    FRAMES = 48

    def __init__(
        self, sched: Scheduler, pages: int = 2, neighbour: int | None = None, accesses_only: bool = False
    ) -> None:
        self.sched = sched
        self.pages = pages
        self.phys = PhysMem(np.zeros(self.FRAMES * PAGE, np.uint8), reuse_window=1)
        self.device = DmirrorDevice(self.phys, DEVICE_PAGES, self.kind)
        self.watch = Watch(self.phys, self.device, accesses_only)
        self.mm = MmStruct(self.phys, "process")
        self.fd = now(self._open(self.mm, pages))
        self.children: list[tuple[MmStruct, list[int]]] = []
        self.processes = [self.mm]
        if neighbour is not None:
            self.other = MmStruct(self.phys, "neighbour")
            self.other_fd = now(self._open(self.other, 0))
            self.processes.append(self.other)
            if neighbour:
                now(self.neighbour_stores())

    async def _open(self, mm: MmStruct, pages: int) -> Any:
        await mm.mmap(BASE, 4 * PAGE if not pages else pages * PAGE, RW, _ANON_FIXED)
        for i in range(pages):
            await mm.store(BASE + i * PAGE, bytes([i + 1]) * PAGE)
        return await self.mirror.open_watched(self.device, mm, self.watch)

    # -- what the processes do ---------------------------------------------------------------------

    async def dontneed(self, page: int = 0) -> None:
        """madvise(MADV_DONTNEED) of one page."""
        note(f"madvise(page {page}, MADV_DONTNEED)")
        await self.mm.madvise(BASE + page * PAGE, PAGE, MADV_DONTNEED)

    async def exclusive(self, page: int = 0) -> None:
        """The device takes a page for atomic access, then reads it."""
        note(f"device: exclusive access to page {page}")
        cmd = await self.fd.exclusive(BASE + page * PAGE, 1)
        assert cmd.ret in (0, -errno.ENOENT), f"exclusive: {cmd.ret}"
        self._own_bytes(cmd.data)

    async def migrate(self, page: int = 0, npages: int = 1) -> None:
        """The device pulls pages into its memory, and reads them."""
        note(f"device: migrate {npages} from page {page}")
        cmd = await self.fd.migrate_to_dev(BASE + page * PAGE, npages)
        assert cmd.ret in (0, -errno.ENOENT), f"migrate: {cmd.ret}"
        self._own_bytes(cmd.data)

    async def device_read(self, page: int = 0) -> None:
        """The device reads a page."""
        note(f"device: read page {page}")
        cmd = await self.fd.read(BASE + page * PAGE, 1)
        assert cmd.ret == 0, f"device read: {cmd.ret}"
        self._own_bytes(cmd.data)

    async def device_write(self, page: int = 0, value: int = 0) -> None:
        """The device writes a page, with what it holds or with `value`."""
        note(f"device: write page {page}")
        cmd = await self.fd.write(BASE + page * PAGE, bytes([value or page + 1]) * PAGE)
        assert cmd.ret == 0, f"device write: {cmd.ret}"

    async def neighbour_stores(self) -> None:
        """The neighbour touches a page of its own."""
        note("neighbour: stores")
        await self.other.store(BASE, bytes([FOREIGN]) * PAGE)

    async def neighbour_migrates(self) -> None:
        """The neighbour moves its page to the device."""
        note("neighbour: migrates")
        cmd = await self.other_fd.migrate_to_dev(BASE, 1)
        assert cmd.ret == 0 and set(cmd.data) <= {FOREIGN}, "the neighbour's page has changed"

    async def fork(self) -> None:
        """fork(), and the child writes a page and exits."""
        note("fork")
        child = await self.mm.fork()
        await child.store(BASE, b"child")
        await child.exit()

    async def protect(self) -> None:
        """mprotect() to read-only and back, twice."""
        for prot in (PROT_READ, RW, PROT_READ, RW):
            await self.mm.mprotect(BASE, self.pages * PAGE, prot)

    def _own_bytes(self, data: bytes) -> None:
        """What the device read is zero or what this process stored."""
        for at in range(0, len(data), PAGE):
            assert len(set(data[at : at + PAGE])) == 1 and data[at] < 16, (
                f"the device read {data[at : at + 4].hex()}, which this process never wrote"
            )

    # -- the end -----------------------------------------------------------------------------------

    def spawn(self, **threads: Coroutine[Any, Any, Any]) -> Callable[[], None]:
        """Start threads by name; the check for the end."""
        for name, coro in threads.items():
            self.sched.spawn(coro, name)
        return self.check

    def check(self) -> None:
        """Nothing is left in the device that the page tables do not have; then everything balances."""
        for fd in self.device.mirrors:
            self.watch.entries(fd, list(fd.pt), "is not so in the page table")
        bad = self.phys.check_balance()
        assert not bad, bad[0]
        now(self._close())
        bad = self.phys.check_balance()
        assert not bad, bad[0]
        assert len(self.device.pagemap.free) == DEVICE_PAGES, "device pages leaked"

    async def _close(self) -> None:
        for fd in list(self.device.mirrors):
            await fd.close()
        for mm in (*self.processes, *(c for c, _ in self.children)):
            await mm.exit()
            assert is_freed(mm), f"{mm.name} is still referenced"


class TwoDeviceWorld(DmirrorWorld):
    """A process with two devices."""

    def __init__(self, sched: Scheduler, pages: int = 2) -> None:
        super().__init__(sched, pages)
        self.second = DmirrorDevice(self.phys, DEVICE_PAGES, self.kind)
        self.other_fd = now(Mirror.open_watched(self.second, self.mm, Watch(self.phys, self.second)))

    async def _close(self) -> None:
        await self.other_fd.close()
        await super()._close()
        assert len(self.second.pagemap.free) == DEVICE_PAGES, "device pages leaked"


class CoherentWorld(DmirrorWorld):
    """With device memory that the CPU can reach too."""

    kind = MEMORY_DEVICE_COHERENT


class Script:
    """A generated operation sequence on `pages` pages, of at most `limit` operations; choice 0 ends it.

    `kinds` names the operations (methods of this class); those that take a page come once for each page.
    """

    WHOLE = ("migrate", "migrate_back", "protect", "fork", "snapshot", "swap_out", "move", "evict")

    def __init__(self, w: DmirrorWorld, kinds: tuple[str, ...], limit: int) -> None:
        self.w = w
        self.limit = limit
        self.ref = [i + 1 for i in range(w.pages)]
        self.writable = True
        self.value = w.pages
        self.ops: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        for kind in kinds:
            method = getattr(self, kind)
            if kind in self.WHOLE:
                self.ops.append((kind, method))
            else:
                self.ops += [(f"{kind} {p}", lambda p=p, m=method: m(p)) for p in range(w.pages)]

    @property
    def fd(self) -> Any:
        """The open device that it uses."""
        return self.w.fd

    async def run(self) -> None:
        """The thread."""
        choose = self.w.sched.choose  # type: ignore[attr-defined]
        for _ in range(self.limit):
            i = choose(len(self.ops) + 1)
            if not i:
                break
            name, op = self.ops[i - 1]
            note(f"operation: {name}")
            await op()
        await self.finish()

    async def finish(self) -> None:
        """What every page holds at the end, here and in the children."""
        for p in range(self.w.pages):
            await self.cpu_read(p)
        for child, ref in self.w.children:
            for p, byte in enumerate(ref):
                self._same(await child.load(BASE + p * PAGE, PAGE), byte, f"the child's page {p}")

    def _same(self, data: bytes, byte: int, what: str) -> None:
        assert data == bytes([byte]) * PAGE, f"{what} holds {data[:2].hex()}, not {byte:02x}{byte:02x}"

    def _new(self) -> bytes:
        self.value += 1
        return bytes([self.value]) * PAGE

    # -- operations --------------------------------------------------------------------------------

    async def migrate(self) -> None:
        """All pages to the device; what cannot move may stay."""
        cmd = await self.fd.migrate_to_dev(BASE, self.w.pages)
        assert cmd.ret in (0, -errno.ENOENT), f"migrate: {cmd.ret}"
        for p in range(cmd.cpages):
            self._same(cmd.data[p * PAGE : (p + 1) * PAGE], self.ref[p], f"page {p} on the device")

    async def migrate_back(self) -> None:
        """All pages to system memory."""
        cmd = await self.fd.migrate_to_sys(BASE, self.w.pages)
        assert cmd.ret == 0, f"migrate back: {cmd.ret}"

    async def protect(self) -> None:
        """mprotect(): read-only, or writable again."""
        self.writable = not self.writable
        note(f"mprotect({'RW' if self.writable else 'R'})")
        await self.w.mm.mprotect(BASE, self.w.pages * PAGE, RW if self.writable else PROT_READ)

    async def fork(self) -> None:
        """fork(); the child stays, and is read at the end."""
        child = await self.w.mm.fork(f"child{len(self.w.children)}")
        self.w.children.append((child, list(self.ref)))

    async def snapshot(self) -> None:
        """HMM_DMIRROR_SNAPSHOT: never writable where the VMA is not."""
        cmd = await self.fd.snapshot(BASE, self.w.pages)
        assert cmd.ret == 0 and cmd.cpages == self.w.pages, f"snapshot: {cmd.ret}"
        assert self.writable or not any(b & 2 for b in cmd.data), "writable in a read-only area"
        assert 0xFF not in cmd.data, "an accessible page in the snapshot as an error"

    async def swap_out(self) -> None:
        """MADV_PAGEOUT."""
        await self.w.mm.swap_out_range(BASE, BASE + self.w.pages * PAGE)

    async def move(self) -> None:
        """migrate_pages() of a memory policy."""
        from sw_model.migrate import migrate_range

        await migrate_range(self.w.mm, BASE, BASE + self.w.pages * PAGE)

    async def evict(self) -> None:
        """HMM_DMIRROR_RELEASE: everything leaves the device."""
        await self.fd.release()

    async def dontneed(self, p: int) -> None:
        """MADV_DONTNEED: the page reads zero."""
        await self.w.mm.madvise(BASE + p * PAGE, PAGE, MADV_DONTNEED)
        self.ref[p] = 0

    async def device_read(self, p: int) -> None:
        """The device reads what the CPU would."""
        cmd = await self.fd.read(BASE + p * PAGE, 1)
        assert cmd.ret == 0, f"device read of page {p}: {cmd.ret}"
        self._same(cmd.data, self.ref[p], f"device read: page {p}")

    async def device_write(self, p: int) -> None:
        """The device writes where the VMA allows it, else -EPERM."""
        data = self._new()
        cmd = await self.fd.write(BASE + p * PAGE, data)
        want = 0 if self.writable else -errno.EPERM
        assert cmd.ret == want, f"device write of page {p}: {cmd.ret}, not {want}"
        if self.writable:
            self.ref[p] = data[0]

    async def cpu_read(self, p: int) -> None:
        """The CPU reads; the device has lost exclusive access."""
        self._same(await self.w.mm.load(BASE + p * PAGE, PAGE), self.ref[p], f"page {p}")
        await self._not_exclusive(p)

    async def cpu_write(self, p: int) -> None:
        """The CPU writes, or SIGSEGV."""
        data = self._new()
        try:
            await self.w.mm.store(BASE + p * PAGE, data)
        except SegvError:
            assert not self.writable, f"SIGSEGV at the writable page {p}"
            return
        assert self.writable, f"a store to the read-only page {p}"
        self.ref[p] = data[0]
        await self._not_exclusive(p)

    async def _not_exclusive(self, p: int) -> None:
        ret = (await self.fd.check_exclusive(BASE + p * PAGE, 1)).ret
        assert ret == 0, f"the device keeps page {p} exclusive after an access of the CPU"

    async def exclusive(self, p: int) -> None:
        """The device takes the page from the CPU; -EFAULT where it may not write."""
        cmd = await self.fd.exclusive(BASE + p * PAGE, 1)
        want = 0 if self.writable else -errno.EFAULT
        assert cmd.ret == want, f"exclusive access to page {p}: {cmd.ret}, not {want}"
        if self.writable:
            self._same(cmd.data, self.ref[p], f"exclusive page {p}")
            assert (await self.fd.check_exclusive(BASE + p * PAGE, 1)).ret == -errno.EPERM


class OnePage(Script):
    """One of several threads: only it changes page `me`, whose bytes are 16 * (me + 1) and up, or zero.

    The other operations are on all pages, and see of the other pages that nobody else's bytes are in them.
    """

    def __init__(self, w: DmirrorWorld, kinds: tuple[str, ...], limit: int, me: int) -> None:
        super().__init__(w, kinds, limit)
        self.me = me
        self.value = 16 * (me + 1)
        self.children: list[tuple[MmStruct, int]] = []
        mine = [f"{k} {me}" for k in kinds if k not in (*self.WHOLE, "exclusive")]
        keep = {*self.WHOLE, *mine, *(f"exclusive {p}" for p in range(w.pages))}
        self.ops = [(name, op) for name, op in self.ops if name in keep]

    async def finish(self) -> None:
        """The page, and what the children have of it."""
        await self.cpu_read(self.me)
        for child, byte in self.children:
            self._same(await child.load(BASE + self.me * PAGE, PAGE), byte, f"the child's page {self.me}")

    def _seen(self, data: bytes, first: int) -> None:
        for p in range(first, first + len(data) // PAGE):
            got = data[(p - first) * PAGE : (p - first + 1) * PAGE]
            if p == self.me:
                self._same(got, self.ref[p], f"page {p} on the device")
            else:
                ok = len(set(got)) == 1 and (got[0] in (0, p + 1) or got[0] >> 4 == p + 1)
                assert ok, f"page {p} on the device holds {got[:2].hex()}, which its thread never wrote"

    async def migrate(self) -> None:
        """All pages to the device."""
        cmd = await self.fd.migrate_to_dev(BASE, self.w.pages)
        assert cmd.ret in (0, -errno.ENOENT), f"migrate: {cmd.ret}"
        self._seen(cmd.data, 0)

    async def exclusive(self, p: int) -> None:
        """The device takes a page from the CPU."""
        cmd = await self.fd.exclusive(BASE + p * PAGE, 1)
        # Coherent device memory is not for it: a page may have come back there.
        allowed = (
            (0, -errno.ENOENT) if self.w.device.pagemap.private else (0, -errno.ENOENT, -errno.EOPNOTSUPP)
        )
        assert cmd.ret in allowed, f"exclusive access to page {p}: {cmd.ret}"
        self._seen(cmd.data, p)

    async def fork(self) -> None:
        """fork(); the child stays."""
        child = await self.w.mm.fork(f"child{len(self.w.children)}")
        self.w.children.append((child, []))
        self.children.append((child, self.ref[self.me]))

    async def _not_exclusive(self, p: int) -> None:
        """Another thread may have made it so again."""


class OtherDevice(OnePage):
    """As OnePage, with the second device of a TwoDeviceWorld."""

    @property
    def fd(self) -> Any:
        """The open device that it uses."""
        return self.w.other_fd


class Guarded(OnePage):
    """As OnePage, while another thread changes the permissions: what is refused changes nothing."""

    async def device_write(self, p: int) -> None:
        """The device writes, or -EPERM."""
        data = self._new()
        cmd = await self.fd.write(BASE + p * PAGE, data)
        assert cmd.ret in (0, -errno.EPERM), f"device write of page {p}: {cmd.ret}"
        if not cmd.ret:
            self.ref[p] = data[0]

    async def cpu_write(self, p: int) -> None:
        """The CPU writes, or SIGSEGV."""
        data = self._new()
        try:
            await self.w.mm.store(BASE + p * PAGE, data)
        except SegvError:
            return
        self.ref[p] = data[0]

    async def exclusive(self, p: int) -> None:
        """The device takes a page from the CPU, or -EFAULT."""
        cmd = await self.fd.exclusive(BASE + p * PAGE, 1)
        assert cmd.ret in (0, -errno.ENOENT, -errno.EFAULT), f"exclusive access to page {p}: {cmd.ret}"
        self._seen(cmd.data, p)


#: the operations of dm_operations
OPERATIONS = (
    "migrate", "protect", "fork", "dontneed", "device_read", "device_write", "cpu_read", "cpu_write",
    "exclusive",
)  # fmt: skip
#: the operations of dm_two_threads
EVERYTHING = (
    "migrate", "migrate_back", "evict", "fork", "swap_out", "move", "dontneed", "device_read", "device_write",
    "cpu_read", "cpu_write", "exclusive",
)  # fmt: skip
