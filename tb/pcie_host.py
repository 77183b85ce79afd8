"""The host above the endpoint: root complex, the UltraScale+ model of the hard block, memory, an IOMMU.

The memory handler is ours: completions come late, out of order and split, all from one seed, and every
request is checked. What the models only log (a 4-KiB crossing, an unmapped address, a dropped TLP) fails
the test unless the test said it expects it.
"""

from __future__ import annotations

import itertools
import logging
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge, Timer
from cocotb.utils import get_sim_time
from cocotbext.axi import AxiStreamBus
from cocotbext.pcie.core import RootComplex
from cocotbext.pcie.core.bridge import Bridge
from cocotbext.pcie.core.function import Function
from cocotbext.pcie.core.tlp import Tlp, TlpType
from cocotbext.pcie.core.utils import PcieId
from cocotbext.pcie.xilinx.us import UltraScalePlusPcieDevice
from cocotbext.pcie.xilinx.us.tlp import ErrorCode, Tlp_us

#: Where the root complex takes interrupt messages.
MSI = range(0x8000_0000, 0x8000_1000)
PAGE_SHIFT = 12
CYCLE_NS = 4
#: Lanes of a gen3 link whose data rate fits the stream at 250 MHz.
LANES = {128: 4, 256: 8, 512: 16}
WRITES = (TlpType.MEM_WRITE, TlpType.MEM_WRITE_64)
READS = (TlpType.MEM_READ, TlpType.MEM_READ_64)
ATOMICS = (TlpType.CAS, TlpType.CAS_64)
#: Kinds of fault: what a request that covers the address gets.
FAULTS = ("ur", "ca", "poison", "missing", "late", "twice", "headless", "expired")


class Complaints(logging.Handler):
    """Collects what any model logs as a warning or worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(record.getMessage())


class Iommu:
    """A domain of the host's IOMMU: which 4-KiB pages of bus address space the device may reach.

    Follows a PhysMem as an observer (dma_map_page at allocation, dma_unmap_page at free): the bus address
    of a frame is `base` plus its offset.
    """

    def __init__(self, base: int) -> None:
        self.first = base >> PAGE_SHIFT
        self.pages: set[int] = set()

    def watch(self, phys: Any) -> None:
        """Map the frames in use, and from now on those allocated."""
        self.pages.update((np.flatnonzero(np.asarray(phys.refcount)) + self.first).tolist())
        phys.add_observer(self)

    def on_frame_alloc(self, pfn: int, nr: int) -> None:
        """PhysMem observer."""
        self.pages.update(range(self.first + int(pfn), self.first + int(pfn) + int(nr)))

    def on_frame_free(self, pfn: int, nr: int) -> None:
        """PhysMem observer."""
        self.pages.difference_update(range(self.first + int(pfn), self.first + int(pfn) + int(nr)))

    def allows(self, address: int, length: int) -> bool:
        """True when every page of a range is mapped."""
        return self.pages.issuperset(range(address >> PAGE_SHIFT, (address + length - 1 >> PAGE_SHIFT) + 1))


@dataclass
class Host:
    """Memory of the root complex: regions, and what goes wrong where.

    `faults` maps an address to one of FAULTS; a read or AtomicOp that covers the address gets it. `latency`
    and `late_ns` in ns. Checks every request against the limits the host has set. `on_msi(data)` gets
    interrupt messages.
    """

    rc: RootComplex
    device: UltraScalePlusPcieDevice
    rng: random.Random
    max_payload: int
    max_read: int
    tags: int
    rcb: int = 64
    latency: tuple[int, int] = (50, 800)
    late_ns: int = 0
    atomics: bool = True
    iommu: Iommu | None = None
    on_msi: Callable[[int], None] | None = None
    regions: list[tuple[int, memoryview]] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)
    reads: list[Tlp] = field(default_factory=list)
    writes: list[Tlp] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    completions: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        for kinds, handler in ((READS, self.on_read), (WRITES, self.on_write), (ATOMICS, self.on_read)):
            for kind in kinds:
                self.rc.register_rx_tlp_handler(kind, handler)

    def map(self, base: int, size: int) -> bytearray:
        """Maps host memory of random content at a bus address."""
        memory = bytearray(self.rng.randbytes(size))
        self.attach(base, memory)
        return memory

    def attach(self, base: int, memory: Any) -> None:
        """Puts memory (any writable buffer of bytes) at a bus address."""
        self.regions.append((base, memoryview(memory)))

    def find(self, address: int, length: int) -> tuple[memoryview, int] | None:
        """The region that holds all of a range, and the offset in it; None where the IOMMU refuses it."""
        if self.iommu is not None and not self.iommu.allows(address, length):
            return None
        for base, memory in self.regions:
            if base <= address and address + length <= base + len(memory):
                return memory, address - base
        return None

    def check(self, tlp: Tlp) -> None:
        """Record every rule of a memory request that `tlp` breaks."""
        n, first, last = tlp.length, tlp.first_be, tlp.last_be
        write = tlp.fmt_type in WRITES
        atomic = tlp.fmt_type in ATOMICS
        limit = self.max_payload if write else self.max_read
        rules = {
            "length 0": n == 0,
            f"longer than {limit}": n * 4 > limit,
            "crosses 4 KiB": (tlp.address & 0xFFF) + n * 4 > 4096,
            "64-bit header below 4 GiB": tlp.address < 1 << 32
            and tlp.fmt_type in (TlpType.MEM_READ_64, TlpType.MEM_WRITE_64, TlpType.CAS_64),
            "one dword with a last BE": n == 1 and last != 0,
            "no first or last BE": n > 1 and (first == 0 or last == 0),
            "hole in the BEs": n > 1 and (first not in (15, 14, 12, 8) or last not in (15, 7, 3, 1)),
            "no byte": n == 1 and first == 0,
            "wrong requester": tlp.requester_id != self.device.functions[0].pcie_id,
            "tag out of range": not write and tlp.tag >= self.tags,
            "AtomicOp not of 8 aligned bytes": atomic and (n != 4 or tlp.address % 8 != 0),
        }
        self.errors += [f"{rule}: {tlp!r}" for rule, broken in rules.items() if broken]

    def refuse(self, tlp: Tlp) -> None:
        """Record a request outside what the host has mapped."""
        self.errors.append(f"{tlp.fmt_type.name} at an unmapped address: {tlp!r}")

    async def on_write(self, tlp: Tlp) -> None:
        self.check(tlp)
        self.writes.append(tlp)
        if tlp.address in MSI:
            if self.on_msi is not None:
                self.on_msi(int.from_bytes(tlp.data[:4], "little"))
            await self.rc.handle_mem_write_tlp(tlp)
            return
        place = self.find(tlp.address, tlp.length * 4)
        if place is None:
            self.refuse(tlp)
            return
        memory, at = place
        enables = [tlp.first_be] + [15] * (tlp.length - 2) + [tlp.last_be] * (tlp.length > 1)
        start, end = tlp.get_first_be_offset(), tlp.length * 4 - tlp.get_last_be_offset()
        if sum(be.bit_count() for be in enables) == end - start:
            memory[at + start : at + end] = bytes(tlp.data[start:end])
            return
        for k, be in enumerate(enables):
            for b in range(4):
                if be >> b & 1:
                    memory[at + 4 * k + b] = tlp.data[4 * k + b]

    async def on_read(self, tlp: Tlp) -> None:
        self.check(tlp)
        self.reads.append(tlp)
        cocotb.start_soon(self.answer(tlp))

    def fault_of(self, tlp: Tlp) -> str:
        """What goes wrong with a request."""
        for address, kind in self.faults.items():
            if tlp.address <= address < tlp.address + tlp.length * 4:
                return kind
        return ""

    async def answer(self, tlp: Tlp) -> None:
        """Send the completions of a request: delayed, split at random read completion boundaries."""
        await Timer(self.rng.randint(*self.latency), "ns")
        atomic = tlp.fmt_type in ATOMICS
        length = 8 if atomic else tlp.length * 4
        kind, place = self.fault_of(tlp), self.find(tlp.address, length)
        if place is None and not kind:
            self.refuse(tlp)
            kind = "ur"
        if atomic and not self.atomics:
            kind = "ur"
        self.completions.append(tlp.tag)
        if kind == "late":
            await Timer(self.late_ns, "ns")
        if kind == "missing":
            return
        if kind == "expired":
            self.expire(tlp)
            return
        if kind == "ur":
            await self.rc.send(Tlp.create_ur_completion_for_tlp(tlp, PcieId(0, 0, 0)))
            return
        if kind == "ca":
            await self.rc.send(Tlp.create_ca_completion_for_tlp(tlp, PcieId(0, 0, 0)))
            return
        assert place is not None
        memory, at = place
        pieces = [self.swap(tlp, memory, at)] if atomic else self.split(tlp, bytes(memory[at : at + length]))
        for k, cpl in enumerate(pieces):
            if kind == "poison" and k == len(pieces) - 1:
                cpl.ep = True
            if kind == "headless" and k == 0:
                assert len(pieces) > 1, "nothing to leave out"
                continue
            await self.rc.send(cpl)
            if kind == "twice":
                await self.rc.send(Tlp(cpl))
            if self.rng.random() < 0.3:
                await Timer(self.rng.randint(1, 60), "ns")

    def expire(self, tlp: Tlp, code: ErrorCode = ErrorCode.TIMEOUT) -> None:
        """The hard block ends a request itself, by its timeout or a reset: an RC packet without payload.

        Tag and request-completed bit are the descriptor's only valid fields (PG213); the others are random.
        """
        rng, device = self.rng, self.device
        end = Tlp_us(Tlp.create_completion_for_tlp(tlp, PcieId(0, 0, 0)))
        end.error_code, end.request_completed = code, True
        end.status, end.ep = rng.randrange(8), bool(rng.randrange(2))
        end.byte_count, end.length = rng.randrange(1 << 13), rng.randrange(1 << 11)
        end.lower_address = rng.randrange(1 << 12)
        device.active_request[tlp.tag] = None
        device.cpld_credit_count = max(device.cpld_credit_count - tlp.get_data_credits(), 0)
        device.cpld_credit_released.set()
        device.rc_queue.put_nowait(end)

    def swap(self, tlp: Tlp, memory: memoryview, at: int) -> Tlp:
        """Do a CAS AtomicOp; its completion carries the old value."""
        old = bytes(memory[at : at + 8])
        if old == bytes(tlp.data[:8]):
            memory[at : at + 8] = bytes(tlp.data[8:16])
        cpl = Tlp.create_completion_data_for_tlp(tlp, PcieId(0, 0, 0))
        cpl.set_data(old)
        cpl.byte_count = 8
        return cpl

    def split(self, tlp: Tlp, data: bytes) -> list[Tlp]:
        """The completions of a read, cut at random multiples of the read completion boundary."""
        out: list[Tlp] = []
        lead = tlp.get_first_be_offset()
        left, at = tlp.get_be_byte_count(), 0
        while at < len(data):
            address = tlp.address + at
            most = min(len(data) - at, self.max_payload - (address & (self.rcb - 1)))
            cuts = list(range(self.rcb - (address & (self.rcb - 1)), most, self.rcb))
            size = self.rng.choice([*cuts, most])
            cpl = Tlp.create_completion_data_for_tlp(tlp, PcieId(0, 0, 0))
            cpl.set_data(data[at : at + size])
            cpl.byte_count = left
            cpl.lower_address = (address + (lead if at == 0 else 0)) & 0x7F
            left -= size - (lead if at == 0 else 0)
            at += size
            out.append(cpl)
        return out


class Flow:
    """Counts the cycles of a stream from now on: `beats`; `stalls`: valid, not ready; `idles`.

    An idle cycle is one in which `source`, the host's end, holds a packet back; without a source, where the
    device drives, one without data inside a packet.
    """

    def __init__(self, dut: Any, name: str, source: Any = None) -> None:
        self.clk, self.source = dut.clk, source
        self.signals = [getattr(dut, f"{name}_{s}") for s in ("tvalid", "tready", "tlast")]
        self.beats = self.stalls = self.idles = 0
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        inside = False
        while True:
            await RisingEdge(self.clk)
            valid, ready, last = (int(s.value) for s in self.signals)
            if valid:
                self.beats += ready
                self.stalls += not ready
                inside = not last if ready else inside
            elif self.source is not None:
                self.idles += self.source.pause and not self.source.idle()
            else:
                self.idles += inside


def pauses(seed: int, busy: float) -> Iterator[int]:
    """Endless pause bits: a cycle is lost with probability `busy`, in runs."""
    rng = random.Random(seed)
    while True:
        yield from [int(rng.random() < busy)] * rng.randint(1, 4)


def _not_atomic(match: Callable[[Any, Tlp], bool]) -> Callable[[Any, Tlp], bool]:
    return lambda self, tlp: tlp.fmt_type not in ATOMICS and match(self, tlp)


# The package routes no AtomicOps: they go upstream as requests to memory do.
Function.match_tlp = _not_atomic(Function.match_tlp)
Bridge.match_tlp_secondary = _not_atomic(Bridge.match_tlp_secondary)


class Link:
    """Root complex, hard-block model and host memory around a design with the hard block's ports.

    The optional ports sys_reset, cfg_mgmt_*, pcie_cq_np_req and those of function-level reset are connected
    where the design has them. `payload` and `read_size` in bytes.
    """

    def __init__(
        self,
        dut: Any,
        *,
        bar_size: int,
        msix: tuple[int, int],
        rng: random.Random,
        max_payload: int = 256,
        max_read: int = 512,
        extended_tag: bool = False,
    ) -> None:
        """`msix`: offsets of table and PBA in BAR0."""
        self.dut = dut
        self.rng = rng
        self.complaints = Complaints()
        self.expected: list[str] = []
        root = logging.getLogger("cocotb")
        for handler in [h for h in root.handlers if isinstance(h, Complaints)]:
            root.removeHandler(handler)
        root.addHandler(self.complaints)
        for name in ("cocotb.pcie", f"cocotb.{dut._name}"):
            logging.getLogger(name).setLevel(logging.WARNING)
        width = len(dut.s_axis_cq_tdata)
        self.bytes = width // 8
        self.payload, self.read_size, self.extended = max_payload, max_read, extended_tag
        self.rc = RootComplex()
        self.rc.log.setLevel(logging.WARNING)
        optional = [
            "sys_reset", "pcie_cq_np_req", "cfg_mgmt_addr", "cfg_mgmt_function_number", "cfg_mgmt_write",
            "cfg_mgmt_write_data", "cfg_mgmt_byte_enable", "cfg_mgmt_read", "cfg_mgmt_read_data",
            "cfg_mgmt_read_write_done", "cfg_flr_in_process", "cfg_flr_done",
        ]  # fmt: skip
        ports = {name: dut._get(name) for name in optional}
        self.device = UltraScalePlusPcieDevice(
            pcie_generation=3,
            pcie_link_width=LANES[width],
            user_clk_frequency=1e9 / CYCLE_NS,
            alignment="dword",
            max_payload_size=1024,
            enable_extended_tag=True,
            user_clk=dut.clk,
            user_reset=dut.rst,
            rq_bus=AxiStreamBus.from_prefix(dut, "m_axis_rq"),
            rc_bus=AxiStreamBus.from_prefix(dut, "s_axis_rc"),
            cq_bus=AxiStreamBus.from_prefix(dut, "s_axis_cq"),
            cc_bus=AxiStreamBus.from_prefix(dut, "m_axis_cc"),
            cfg_max_payload=dut.cfg_max_payload,
            cfg_max_read_req=dut.cfg_max_read_req,
            cfg_function_status=dut.cfg_function_status,
            cfg_interrupt_msix_enable=dut.cfg_interrupt_msix_enable,
            cfg_interrupt_msix_mask=dut.cfg_interrupt_msix_mask,
            pf0_msix_enable=True,
            pf0_msix_table_size=3,
            pf0_msix_table_offset=msix[0],
            pf0_msix_pba_offset=msix[1],
            **{name: port for name, port in ports.items() if port is not None},
        )
        self.function = self.device.functions[0]
        self.device.log.setLevel(logging.WARNING)
        self.function.log.setLevel(logging.WARNING)
        self.function.configure_bar(0, bar_size)
        self.rc.make_port().connect(self.device)
        self.host = Host(
            self.rc, self.device, self.rng, max_payload, max_read, tags=256 if extended_tag else 32
        )

    async def up(self) -> None:
        """Wait for the end of reset (`origin_ns`), enumerate, allow bus mastering, set the link's limits."""
        await RisingEdge(self.dut.clk)
        while not int(self.dut.rst.value):
            await RisingEdge(self.dut.clk)
        while int(self.dut.rst.value):
            await RisingEdge(self.dut.clk)
        self.origin_ns = round(get_sim_time("ns"))
        # Probing for devices that are not there is part of enumeration.
        self.rc.log.setLevel(logging.ERROR)
        await self.rc.enumerate()
        self.rc.log.setLevel(logging.WARNING)
        self.pci = self.rc.find_device(self.function.pcie_id)
        await self.configure()

    async def configure(self) -> None:
        """What a driver's probe and the PCI core set in the configuration space."""
        await self.pci.enable_device()
        await self.pci.set_master()
        cap = self.function.pcie_cap
        cap.max_payload_size = self.payload.bit_length() - 8
        cap.max_read_request_size = self.read_size.bit_length() - 8
        cap.extended_tag_field_enable = self.extended

    def press_on(self, sources: list[Any], sinks: list[Any], idle: float, full: float) -> None:
        """Random idle cycles on what drives the design, random back-pressure on what it drives."""
        seeds = itertools.count(self.rng.randrange(1 << 30))
        for group, busy in ((sources, idle), (sinks, full)):
            for channel in group:
                if busy:
                    channel.set_pause_generator(pauses(next(seeds), busy))

    def flows(self) -> dict[str, Flow]:
        """A Flow of each of the four streams."""
        d, dut = self.device, self.dut
        return {
            "cq": Flow(dut, "s_axis_cq", d.cq_source),
            "cc": Flow(dut, "m_axis_cc"),
            "rq": Flow(dut, "m_axis_rq"),
            "rc": Flow(dut, "s_axis_rc", d.rc_source),
        }

    def expect(self, *patterns: str) -> None:
        """What the models may complain about in this test."""
        self.expected += patterns

    def unexpected(self) -> list[str]:
        """Complaints of the models and broken rules that the test did not expect."""
        found = [*self.complaints.seen, *self.host.errors]
        return [c for c in found if not any(re.search(e, c) for e in self.expected)]

    def check(self) -> None:
        """Raise AssertionError on a broken rule or an unexpected complaint."""
        bad = self.unexpected()
        assert not bad, f"{len(bad)} complaints, first: {bad[0][:400]}"
