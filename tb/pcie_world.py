"""The simulated world over PCIe: the driver's registers and interrupts are TLPs of a root complex.

`PcieHarness` is to World what the harness is: time, registers, interrupts, memory and logs; time is the
simulator's and the host is tb/pcie_host.py.
"""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.queue import Queue
from cocotb.triggers import Event, FallingEdge, First, RisingEdge, Timer
from cocotb.utils import get_sim_time
from cocotbext.pcie.core.tlp import Tlp
from cocotbext.pcie.xilinx.us.tlp import ErrorCode
from numpy.typing import NDArray

from sw_model import device_interface as dev
from tb.pcie_host import CYCLE_NS, Iommu, Link
from tb.pcie_log import BusLog
from tb.sim import EV_ALARM, EV_IRQ, EV_READ, NS_PER_CYCLE, HarnessError
from tb.world import VECTORS, World

assert CYCLE_NS == NS_PER_CYCLE
#: Bus addresses of host memory: below 4 GiB (3-dword headers) and in a host's IOVA space above it.
LOW_BASE, HIGH_BASE = 0x1000_0000, 0x7F_C000_0000
READ_TIMEOUT_NS = 40_000
ALL_ONES = 0xFFFF_FFFF


class PcieHarness(Link):
    """One device behind the link.

    `memory` is what the device reaches of the host, from bus address `bus_base` on. Latencies in ns: `mmio`
    of a register access before it is sent, `msi` of an interrupt after it has come.
    """

    owns_time = False

    def __init__(
        self,
        dut: Any,
        *,
        seed: int = 1,
        memory_bytes: int = 64 << 20,
        bus_base: int = HIGH_BASE,
        iommu: bool = True,
        mmio: tuple[int, int] = (20, 200),
        msi: tuple[int, int] = (40, 400),
        **limits: Any,
    ) -> None:
        """`limits`: max_payload, max_read, extended_tag of Link. `start` brings the link up."""
        super().__init__(
            dut,
            bar_size=dev.BAR0_BYTES,
            msix=(dev.MSIX_TABLE_OFFSET, dev.MSIX_PBA_OFFSET),
            rng=random.Random(seed),
            **limits,
        )
        self.mmio, self.msi = mmio, msi
        self.bus_base = bus_base
        self.memory: NDArray[np.uint8] = np.zeros(memory_bytes, np.uint8)
        self.host.attach(bus_base, self.memory)
        self.host.iommu = Iommu(bus_base) if iommu else None
        self.host.on_msi = self._on_msi
        self.irq_log: list[int] = []
        self._attention = Event()
        self._events = self._irqs = 0
        self._alarm: int | None = None
        self._on_the_way: set[int] = set()
        self._tokens = itertools.count(1)
        self._values: dict[int, int] = {}
        self._ops: Queue[tuple[int, int, int]] = Queue()
        dut.sys_reset.value = 1
        dut.pcie_tfc_nph_av.value = 15
        dut.cfg_flr_in_process.value = 0

    async def start(self) -> PcieHarness:
        """Enumerate and allocate interrupt vectors."""
        await self.up()
        await self.allocate_vectors()
        await Timer(1, "us")
        self.bar = self.pci.bar_addr[0]
        self.log = BusLog(Path("bus.log"), self.bytes, self.origin_ns)
        cocotb.start_soon(self._run_mmio())
        return self

    async def allocate_vectors(self) -> None:
        """pci_alloc_irq_vectors() with MSI-X: writes the table through BAR0."""
        assert await self.pci.alloc_irq_vectors(VECTORS, VECTORS) == VECTORS
        self.vector_of = {v.data: k for k, v in enumerate(self.pci.msi_vectors[:VECTORS])}

    async def restore(self) -> None:
        """pci_restore_state() after a reset: configuration space, MSI-X table, and a log that starts anew."""
        await self.configure()
        for k, vector in enumerate(self.pci.msi_vectors[:VECTORS]):
            row = self.bar + dev.MSIX_TABLE_OFFSET + 16 * k
            for at, word in enumerate((vector.addr & ALL_ONES, vector.addr >> 32, vector.data, 0)):
                await self.rc.mem_write_dword(row + 4 * at, word)
        self.function.msix_cap.msix_enable = True
        await Timer(1, "us")
        self.log.forget()
        self._events = self._irqs = 0

    async def function_reset(self, ends_reads: bool = False) -> None:
        """pcie_flr(): the function's reset, with whatever is in flight; then the state is restored.

        `ends_reads`: the hard block tells on RC (error code 8) that requests have ended with the reset.
        """
        # The model throws away what it has still to send when bus mastering goes off.
        self.function.bus_master_enable = ends_reads
        self.function.msix_cap.msix_enable = False
        self.dut.cfg_flr_in_process.value = 1
        while not int(self.dut.cfg_flr_done.value) & 1:
            await RisingEdge(self.dut.clk)
            for tlp in filter(None, self.device.active_request if ends_reads else ()):
                self.host.expire(tlp, ErrorCode.FLR)
        self.function.bus_master_enable = False
        self.dut.cfg_flr_in_process.value = 0
        await Timer(200, "ns")
        await self.restore()

    async def link_down(self) -> None:
        """The link fails: from now on nothing comes down it. Then a fundamental reset (sys_reset low).

        The reset comes between packets of CQ and RC: the model would send the rest of one after it.
        """

        async def discard(tlp: Tlp) -> None:
            tlp.release_fc()

        d = self.device
        d.upstream_port.rx_handler = discard
        while not (d.cq_source.idle() and d.rc_source.idle()):
            await RisingEdge(self.dut.clk)
        self.dut.sys_reset.value = 0

    async def link_up_again(self) -> None:
        """End a fundamental reset: the hard block forgets its requests, the host restores."""
        self.device.active_request = [None] * len(self.device.active_request)
        self.device.cpld_credit_count = 0
        self.device.upstream_port.rx_handler = self.device.upstream_recv
        self.dut.sys_reset.value = 1
        await FallingEdge(self.dut.rst)
        self.log.forget()
        self.origin_ns = self.log.origin_ns = self._now_ns()
        await Timer(1, "us")
        await self.restore()

    def press(self, idle: float = 0.0, full: float = 0.0) -> None:
        """Random idle cycles on CQ and RC, random back-pressure on RQ and CC."""
        d = self.device
        self.press_on([d.cq_source, d.rc_source], [d.rq_sink, d.cc_sink], idle, full)

    # ---- what World asks of a harness

    @staticmethod
    def _now_ns() -> int:
        return round(get_sim_time("ns"))

    @property
    def cycle(self) -> int:
        """Cycles since the end of reset."""
        return (self._now_ns() - self.origin_ns) // CYCLE_NS

    def reg_write(self, offset: int, value: int) -> None:
        """Post a register write."""
        self._ops.put_nowait((0, offset, value & ALL_ONES))

    def read_start(self, offset: int) -> int:
        """Start a register read; a token for `read_poll`."""
        token = next(self._tokens)
        self._ops.put_nowait((token, offset, 0))
        return token

    def read_poll(self, token: int) -> int | None:
        """The value once, when the read is complete; else None."""
        return self._values.pop(token, None)

    def set_alarm(self, cycle: int | None) -> None:
        """Raise EV_ALARM at a cycle; None disarms."""
        self._alarm = cycle

    def take_events(self) -> int:
        """Events since the last call."""
        events, self._events = self._events, 0
        if self._alarm is not None and self.cycle >= self._alarm:
            self._alarm = None
            events |= EV_ALARM
        return events

    def take_irqs(self) -> int:
        """Mask of the interrupt vectors that arrived since the last call."""
        irqs, self._irqs = self._irqs, 0
        return irqs

    def drain_logs(self) -> tuple[NDArray, NDArray]:
        """Accesses and ring records since the last call."""
        return self.log.drain()

    def stats(self) -> dict[str, int]:
        """Counters, by name."""
        log = self.log
        return {"cycle": self.cycle, "errors": len(log.errors), "reads": log.reads, "writes": log.writes,
                "outstanding": log.outstanding, "oldest_age": 0, "irqs": len(self.irq_log)}  # fmt: skip

    def check(self) -> None:
        """Raise HarnessError for a broken rule on the link or the device's buses."""
        if bad := [*self.log.errors, *self.unexpected()]:
            raise HarnessError("\n".join(line[:400] for line in bad[:20]))

    def close(self) -> None:
        """Nothing is held."""

    async def wait(self) -> None:
        """Sleep until an event or the alarm."""
        if not self._events:
            self._attention.clear()
            left = None if self._alarm is None else max(1, self._alarm - self.cycle)
            if left is None:
                await self._attention.wait()
            else:
                await First(self._attention.wait(), Timer(left * CYCLE_NS, "ns"))

    def _raise(self, event: int) -> None:
        self._events |= event
        self._attention.set()

    # ---- registers and interrupts

    async def _run_mmio(self) -> None:
        while True:
            token, offset, value = await self._ops.get()
            await Timer(self.rng.randint(*self.mmio), "ns")
            if token:
                cocotb.start_soon(self._read(token, offset))
            else:
                await self.rc.mem_write_dword(self.bar + offset, value)

    async def _read(self, token: int, offset: int) -> None:
        try:
            value = await self.rc.mem_read_dword(self.bar + offset, timeout=READ_TIMEOUT_NS)
        except Exception as error:
            # The package raises no narrower type; a CPU reads all ones.
            if str(error) not in ("Timeout", "Unsuccessful completion"):
                raise
            value = ALL_ONES
        self._values[token] = value
        self._raise(EV_READ)

    def _on_msi(self, data: int) -> None:
        vector = self.vector_of[data]
        self.irq_log.append(vector)
        if vector not in self._on_the_way:
            self._on_the_way.add(vector)
            cocotb.start_soon(self._deliver(vector))

    async def _deliver(self, vector: int) -> None:
        await Timer(self.rng.randint(*self.msi), "ns")
        self._on_the_way.discard(vector)
        self._irqs |= 1 << vector
        self._raise(EV_IRQ)


class PcieWorld(World):
    """A World whose device is behind the link."""

    def __init__(self, harness: PcieHarness, **kw: Any) -> None:
        super().__init__(harness=harness, **kw)
        self.link = harness

    def watch(self, phys: Any) -> None:
        """The IOMMU maps the frames in use and no others."""
        if self.link.host.iommu is not None:
            self.link.host.iommu.watch(phys)

    async def run_cocotb(self, dut: Any, max_cycles: int | None = None) -> None:
        """Run until only daemons are left. Raises SimHang, HarnessError, and what a thread raised."""
        end = None if max_cycles is None else self.cycle + max_cycles
        self._hang_at = self.cycle + self.hang_cycles
        while self._serve(end):
            await self.link.wait()
