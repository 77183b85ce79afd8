"""The whole stack with device memory: real memory management, SvmDriver, SvmDmirror and FuncDevice.

As explore.full, but the device has memory of its own, to which pages migrate, and takes pages for exclusive
access. A device thread and a process thread each pick their operations with choose(); every access of the
device, its translations and what is in flight are checked against the page table.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from sw_model.device_interface import DONE, WORK, Work
from sw_model.explore.dmirror_world import Watch
from sw_model.explore.full import FullWorld, step_name
from sw_model.explore.notes import note
from sw_model.explore.world import Stale
from sw_model.func_device import WRITE, Access
from sw_model.mm import MADV_DONTNEED, PROT_READ, PROT_WRITE, MmStruct
from sw_model.phys import PhysMem
from sw_model.sched import Scheduler, VirtualClock, point
from sw_model.svm_dmirror import SvmDmirror, SvmDmirrorDevice

PAGE = 4096
BASE = 0x1000_0000
FRAMES = 160
DEVICE_PAGES = 4
_RW, _ANON_FIXED = PROT_READ | PROT_WRITE, 0x32


class DeviceWatch(Watch):
    """Watch over what the MMU has cached and what is in flight."""

    def __init__(self, phys: PhysMem, device: SvmDmirrorDevice, dev: Any) -> None:
        super().__init__(phys, device)
        self.dev = dev
        self.mm: Any = None
        dev.on_access = self.device_access

    def device_access(self, phase: str, a: Access, frame: int) -> None:
        """The device takes a translation, or touches a frame. Raises Stale."""
        note(f"access {a.vpn:#x} {phase} in frame {frame}")
        self._require(a.vpn, frame, a.kind == WRITE, phase)

    def _require(self, vpn: int, frame: int, write: bool, what: str) -> None:
        if self.mm is not None and not self.good(self.mm, vpn, frame, write):
            raise Stale(f"{what}: page {vpn:#x} in frame {frame} ({self.who(frame)})")

    def _changed(self, mm: Any, vpn: int, nr: int) -> None:
        if mm is self.mm:
            self.held(range(vpn, vpn + nr), "leaves the page table")

    def held(self, vpns: range | None, what: str) -> None:
        """Every translation, and every access in flight, of these pages is right; None: of all."""
        for t in self.dev.tlb:
            for v in range(t.vpn, t.vpn + t.npages):
                if vpns is None or v in vpns:
                    self._require(v, t.pfn + v - t.vpn, bool(t.perm & WRITE), f"{what}, a translation")
        for a in self.dev.inflight:
            if a.used is not None and (vpns is None or a.vpn in vpns):
                frame = a.used.pfn + a.vpn - a.used.vpn
                self._require(a.vpn, frame, a.kind == WRITE, f"{what}, an access in flight")

    def on_frame_free(self, pfn: int, nr: int) -> None:
        """Frames go back to the allocator, or pages to the device's memory."""
        for t in self.dev.tlb:
            if t.pfn < pfn + nr and pfn < t.pfn + t.npages:
                raise Stale(f"frame {pfn} is freed with a translation in the device")


class FullDmirrorWorld:
    """A machine with one process of `pages` pages and a device with memory of its own, attached."""

    def __init__(self, sched: Scheduler, pages: int = 1) -> None:
        self.sched, self.pages = sched, pages
        memory = np.zeros(FRAMES * PAGE, np.uint8)
        self.phys = PhysMem(memory, reuse_window=1)
        self.dev = FullWorld.make_device(memory)
        opts = {"log2_cmd": 4, "log2_fault": 4, "log2_event": 4}
        self.device = SvmDmirrorDevice(self.dev, self.phys, sched, DEVICE_PAGES, **opts)
        self.watch = DeviceWatch(self.phys, self.device, self.dev)
        self.mm = MmStruct(self.phys, "process")
        self._explored = False
        sched.spawn(self._device(), "device", daemon=True)
        ready = sched.spawn(self._set_up(), "set-up")
        clock = sched.clock
        assert isinstance(clock, VirtualClock)
        while not ready.done:
            sched.run_ready()
            deadline = sched.next_deadline()
            if not ready.done:
                assert deadline is not None, "set-up hangs"
                clock.ns = deadline
        self._explored = True

    async def _set_up(self) -> None:
        await self.device.probe()
        await self.mm.mmap(BASE, self.pages * PAGE, _RW, _ANON_FIXED)
        for p in range(self.pages):
            await self.mm.store(BASE + p * PAGE, b"x")
        fd = await self.device.open(self.mm)
        assert isinstance(fd, SvmDmirror)
        self.fd = fd
        self.watch.mm = self.mm
        for p in range(self.pages):
            await self.access(Work.WRITE, p)

    async def _device(self) -> None:
        dev, choose = self.dev, self.sched.choose  # type: ignore[attr-defined]
        while True:
            steps = dev.steps()
            if steps:
                step = steps[choose(len(steps)) if self._explored else 0]
                note(f"device: {step_name(step)}")
                dev.step(step)
                await point("device", dev)
            else:
                await dev._work_wq.wait(dev.steps)

    async def access(self, op: Work = Work.WRITE, page: int = 0) -> None:
        """The device reads or writes a word; it must succeed."""
        rows = WORK.pack(op=int(op), va=BASE + page * PAGE, pasid=self.fd.pasid, len=8, data=7, src=0)
        status = int(DONE.get(await self.fd.engine.run(rows), "status")[0])
        assert status == 0, f"device {op.name} of page {page}: status {status}"

    async def migrate(self) -> None:
        """The device pulls the pages into its memory."""
        note("operation: migrate to the device")
        cmd = await self.fd.migrate_to_dev(BASE, self.pages)
        assert cmd.ret in (0, -errno.ENOENT), f"migrate: {cmd.ret}"

    async def migrate_back(self) -> None:
        """All pages to system memory."""
        note("operation: migrate back")
        assert (await self.fd.migrate_to_sys(BASE, self.pages)).ret == 0

    async def exclusive(self) -> None:
        """The device takes a page from the CPU."""
        note("operation: exclusive access")
        cmd = await self.fd.exclusive(BASE, 1)
        assert cmd.ret in (0, -errno.ENOENT), f"exclusive: {cmd.ret}"

    async def device_write(self) -> None:
        """A write of the device."""
        note("operation: device write")
        await self.access()

    async def dontneed(self) -> None:
        """madvise(MADV_DONTNEED)."""
        note("operation: MADV_DONTNEED")
        await self.mm.madvise(BASE, PAGE, MADV_DONTNEED)

    async def fork(self) -> None:
        """fork(), the child writes and exits."""
        note("operation: fork")
        child = await self.mm.fork()
        await child.store(BASE, b"child")
        await child.exit()

    async def cpu_write(self) -> None:
        """A store of the CPU."""
        note("operation: CPU store")
        await self.mm.store(BASE, b"cpu")

    async def swap_out(self) -> None:
        """MADV_PAGEOUT."""
        note("operation: swap out")
        await self.mm.swap_out_range(BASE, BASE + self.pages * PAGE)

    async def evict(self) -> None:
        """Everything leaves the device."""
        note("operation: evict")
        await self.fd.release()

    async def some(self, ops: tuple[Callable[[], Awaitable[None]], ...], n: int) -> None:
        """A thread: `n` of the operations."""
        choose = self.sched.choose  # type: ignore[attr-defined]
        for _ in range(n):
            await ops[choose(len(ops))]()

    def check(self) -> None:
        """The end: what the device still has is in the page table."""
        self.watch.held(None, "at the end")
        assert not self.device.driver.command_errors, self.device.driver.command_errors
        bad = self.phys.check_balance()
        assert not bad, bad[0]
