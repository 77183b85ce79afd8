"""The whole stack: real memory management, SvmDriver, Engine and FuncDevice, with a check of every access.

The device is one thread; which of its possible steps happens is a choice of the strategy. Set-up (probe,
attach) runs without choices.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sw_model.device_interface import DONE, IRQ_FAULT, WORK, Work
from sw_model.driver import SvmDriver
from sw_model.engine import Engine
from sw_model.explore.notes import note
from sw_model.explore.world import Stale
from sw_model.func_device import WRITE, Access, Fault, FuncDevice, Step
from sw_model.mm import MmStruct
from sw_model.phys import PhysMem
from sw_model.sched import Scheduler, VirtualClock, point

PAGE = 4096
BASE = 0x1000_0000
FRAMES = 96
MADV_DONTNEED = 4
_RW, _MAP_FIXED = 3, 0x32


class _Check:
    """The device may use a page only as the page table of its process has it at that moment."""

    def __init__(self, dev: Any, phys: PhysMem) -> None:
        self.dev = dev
        self.pasid = 0
        self.mm: Any = None
        self.pte: dict[int, tuple[int, bool]] = {}
        dev.on_access = self.access
        phys.add_observer(self)

    def on_pte_set(self, mm: Any, vaddr: int, pfn: int, nr_pages: int, writable: bool) -> None:
        """An entry is written."""
        if mm is not self.mm:
            return
        for i in range(nr_pages):
            vpn = (vaddr >> 12) + i
            old = self.pte.get(vpn)
            if old is not None and (old[0] != pfn + i or (old[1] and not writable)):
                self._gone(vpn, old[0] == pfn + i)
            self.pte[vpn] = pfn + i, writable
        note(f"page table: {vaddr >> 12:#x} -> frame {pfn}{'' if writable else ' read-only'}")

    def on_pte_clear(self, mm: Any, vaddr: int, nr_pages: int) -> None:
        """An entry goes away."""
        if mm is not self.mm:
            return
        note(f"page table: {vaddr >> 12:#x} cleared")
        for i in range(nr_pages):
            if self.pte.pop((vaddr >> 12) + i, None) is not None:
                self._gone((vaddr >> 12) + i, False)

    def _gone(self, vpn: int, write_only: bool) -> None:
        for t in self.dev.tlb:
            if t.covers(self.pasid, vpn, vpn + 1) and (not write_only or t.perm & WRITE):
                raise Stale(f"page {vpn:#x} leaves the page table with a translation in the device")
        for a in self.dev.inflight:
            if a.vpn == vpn and (not write_only or a.kind == WRITE):
                raise Stale(f"page {vpn:#x} leaves the page table with an access in flight")

    def on_frame_free(self, pfn: int, nr: int) -> None:
        """Frames go back to the allocator."""
        for t in self.dev.tlb:
            if t.pfn < pfn + nr and pfn < t.pfn + t.npages:
                raise Stale(f"frame {pfn} is freed with a translation in the device")

    def access(self, phase: str, a: Access, pfn: int) -> None:
        """The device takes a translation, or touches a frame."""
        now = self.pte.get(a.vpn)
        note(f"access {a.vpn:#x} {phase} through frame {pfn}")
        if now is None or now[0] != pfn:
            raise Stale(f"{phase}: page {a.vpn:#x} through frame {pfn}, the CPU has {now}")
        if a.kind == WRITE and not now[1]:
            raise Stale(f"{phase}: write to the read-only page {a.vpn:#x}")

    def at_end(self) -> None:
        """Nothing is left in the device that the page table does not have."""
        for t in self.dev.tlb:
            now = self.pte.get(t.vpn)
            if now is None or now[0] != t.pfn or (t.perm & WRITE and not now[1]):
                raise Stale(f"the device maps page {t.vpn:#x} to frame {t.pfn}, the CPU {now}")


def step_name(step: Step) -> str:
    """A step of the device as a timeline shows it."""
    name, what = step
    if isinstance(what, Access | Fault):
        return f"{name} {what.vpn:#x}"
    return name if what is None else f"{name} {what}"


class FullWorld:
    """A machine with one process attached with `pages` pages, all present; the device writes to the first.

    The exploration starts where the device's fault record is in the ring.
    """

    #: makes the device over host memory: a Transport with the steps of FuncDevice (tb.explore has another)
    make_device: ClassVar[Callable[[NDArray[np.uint8]], Any]] = staticmethod(
        lambda memory: FuncDevice(memory, mshrs=4, park=8, capacity=64)
    )

    def __init__(self, sched: Scheduler, mirror: str = "interval", pages: int = 1) -> None:
        self.sched = sched
        memory = np.zeros(FRAMES * PAGE, np.uint8)
        self.phys = PhysMem(memory)
        self.dev = self.make_device(memory)
        opts = {"log2_cmd": 4, "log2_fault": 4, "log2_event": 4}
        self.drv = SvmDriver(self.dev, self.phys, sched, mirror, **opts)  # type: ignore[arg-type]
        self.eng = Engine(self.dev, self.phys, sched, log2_work=4, log2_done=4, holdoff=0)
        self.check = _Check(self.dev, self.phys)
        self.mm = MmStruct(self.phys)
        self.pasid = 1
        self._explored = False
        sched.spawn(self._device(), "device", daemon=True)
        ready = sched.spawn(self._set_up(pages), "set-up")
        clock = sched.clock
        assert isinstance(clock, VirtualClock)
        while not ready.done:
            sched.run_ready()
            deadline = sched.next_deadline()
            if not ready.done:
                assert deadline is not None, "set-up hangs"
                clock.ns = deadline
        # The device's write has faulted and its record is in the ring: only the interrupt is held back.
        sched.spawn(self.write(), "write")
        sched.run_ready()
        self._explored = True
        self.dev._work_wq.wake_all()

    async def _set_up(self, pages: int) -> None:
        mm = self.check.mm = self.mm
        await self.drv.probe()
        await self.eng.probe()
        await mm.mmap(BASE, pages * PAGE, _RW, _MAP_FIXED)
        for i in range(pages):
            await mm.store(BASE + i * PAGE, b"x")
        self.check.pasid = self.pasid
        await self.drv.attach(mm, self.pasid)

    async def _device(self) -> None:
        dev, choose = self.dev, self.sched.choose  # type: ignore[attr-defined]
        while True:
            steps = self._steps()
            if steps:
                step = steps[choose(len(steps)) if self._explored else 0]
                note(f"device: {step_name(step)}")
                dev.step(step)
                await point("device", dev)
            else:
                await dev._work_wq.wait(self._steps)

    def _steps(self) -> list[tuple[str, Any]]:
        steps = self.dev.steps()
        return steps if self._explored else [s for s in steps if s != ("irq", IRQ_FAULT)]

    async def write(self, page: int = 0) -> int:
        """The device writes a word of a page; the status."""
        rows = WORK.pack(op=int(Work.WRITE), va=BASE + page * PAGE, pasid=self.pasid, len=8, data=7, src=0)
        return int(DONE.get(await self.eng.run(rows), "status")[0])

    async def reclaim(self) -> None:
        """madvise(MADV_DONTNEED) of everything."""
        await self.mm.madvise(BASE, PAGE, MADV_DONTNEED)

    async def fork(self) -> None:
        """fork(), and the child exits."""
        child = await self.mm.fork()
        await child.exit()

    def spawn(self, **threads: Coroutine[Any, Any, Any]) -> Callable[[], None]:
        """Start threads by name; the check for the end."""
        for name, coro in threads.items():
            self.sched.spawn(coro, name)
        return self.at_end

    def at_end(self) -> None:
        """Check the world once all is quiet."""
        self.check.at_end()
