"""A process on the device behind PCIe: world, driver, access engine and oracle for the tests of the link."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw_model.device_interface import DONE, WORK, Flag, Reg, Work
from sw_model.driver import SvmDriver
from sw_model.engine import Engine
from sw_model.mm import MmStruct
from sw_model.pagetable import PAGE_SIZE
from sw_model.phys import PhysMem
from sw_model.sched import RandomStrategy, sleep
from sw_model.vma import MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE
from tb.oracle import Oracle, Verdict
from tb.pcie_world import PcieHarness, PcieWorld

BASE = 0x1000_0000
PASID = 7
REQUESTER = 0x5A


class Rig:
    """One process of `pages` anonymous pages at BASE, attached to the device; a new driver each time.

    `body(rig)` runs as a kernel thread. A Rig on a harness whose device was reset starts from nothing.
    """

    def __init__(
        self,
        harness: PcieHarness,
        pages: int = 16,
        seed: int = 1,
        log2_work: int = 8,
        log2_done: int | None = None,
    ) -> None:
        self.harness = harness
        self.pages = pages
        self.world = PcieWorld(harness, seed=seed, strategy=RandomStrategy(seed, 0.05), hang_cycles=200_000)
        self.phys = PhysMem(harness.memory, seed=seed)
        if harness.host.iommu is not None:
            harness.host.iommu.pages.clear()
        self.world.watch(self.phys)
        self.oracle = Oracle(bus_base=harness.bus_base, now=lambda: self.world.cycle)
        self.oracle.watch(self.phys)
        self.driver = SvmDriver(self.world.transport, self.phys, self.world.sched)
        self.engine = Engine(
            self.world.transport,
            self.phys,
            self.world.sched,
            log2_work=log2_work,
            log2_done=log2_work if log2_done is None else log2_done,
        )
        self.mm = MmStruct(self.phys, "rig")
        self.content = harness.rng.randbytes(pages * PAGE_SIZE)
        self.result: Any = None

    async def run(
        self, body: Callable[[Rig], Awaitable[Any]], max_cycles: int = 400_000, judge: bool = True
    ) -> Any:
        """Run `body` between attach and remove, then let the oracle judge; what `body` returned.

        `judge` false: the device or its driver does not survive `body`, which is the last thing that runs.
        """
        self.judge = judge
        self.world.spawn(self._main(body), "main")
        await self.world.run_cocotb(self.harness.dut, max_cycles)
        if judge:
            verdict = self.verdict()
            assert verdict.ok, str(verdict)
        return self.result

    def verdict(self) -> Verdict:
        """What the oracle says at the end."""
        self.oracle.feed(*self.world.drain_logs())
        return self.oracle.finish(pending=self.world.stats()["outstanding"])

    async def _main(self, body: Callable[[Rig], Awaitable[Any]]) -> None:
        await self.driver.probe()
        await self.engine.probe()
        for name, (base, log2) in {**self.driver.rings, **self.engine.rings}.items():
            self.oracle.set_ring(name, base, log2)
        self.oracle.bind(PASID, self.mm.mm_id)
        await self.driver.attach(self.mm, PASID)
        flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED
        await self.mm.mmap(BASE, self.pages * PAGE_SIZE, PROT_READ | PROT_WRITE, flags)
        await self.mm.store(BASE, self.content)
        self.result = await body(self)
        if self.judge:
            await self.engine.stop()
            await self.driver.remove()
            await self.mm.exit()

    # ---- what a body does

    def rows(
        self, op: Work, page: NDArray | list[int], length: int = 64, **fields: Any
    ) -> NDArray[np.uint64]:
        """Descriptors of `op` on the first bytes of pages of the process, by number (fractions allowed)."""
        va = (BASE + np.asarray(page) * PAGE_SIZE).astype(np.uint64)
        op_of = np.full(len(va), int(op), np.uint64)
        return WORK.pack(
            op=op_of, flags=Flag.COMPLETE, pasid=PASID, len=length, requester=REQUESTER, va=va, **fields
        )

    async def status(self, rows: NDArray[np.uint64]) -> list[int]:
        """Run descriptors; their completion statuses."""
        return DONE.get(await self.engine.run(rows), "status").tolist()

    async def warm(self) -> None:
        """Have the device hold every page, readable and writable: a write of what is there."""
        data = np.frombuffer(self.content, "<u8")[:: PAGE_SIZE // 8]
        rows = self.rows(Work.WRITE, np.arange(self.pages), 8, data=data)
        assert set(await self.status(rows)) == {0}

    def bus(self, page: float, offset: int = 0) -> int:
        """Bus address of a byte of the process."""
        va = int(BASE + page * PAGE_SIZE) + offset
        pfn = self.mm.translate_fast(va, False)
        assert pfn >= 0, "the page is not there"
        return self.harness.bus_base + pfn * PAGE_SIZE + va % PAGE_SIZE

    async def memory(self) -> bytes:
        """The process's bytes."""
        return await self.mm.load(BASE, self.pages * PAGE_SIZE)

    async def reg(self, reg: Reg) -> int:
        """A register."""
        return await self.world.transport.read_reg(reg)

    async def until(self, condition: Callable[[], object], ns: int = 100_000) -> None:
        """Wait until a condition holds. Raises AssertionError after `ns`."""
        end = self.world.clock.now() + ns
        while not condition():
            assert self.world.clock.now() < end, "waited in vain"
            await sleep(200)
