"""The endpoint's parts between cocotbext-pcie's UltraScale+ model with a root complex and an AXI port.

The host is ours: a sparse memory whose completions come late, out of order and split, all from the test's
seed. What the models only log (a 4-KiB crossing, an unmapped address, a dropped TLP) fails the test unless
the test said it expects it.
"""

from __future__ import annotations

import itertools
import logging
import random
import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import cocotb
from cocotb.triggers import Event, RisingEdge, Timer
from cocotbext.axi import (
    AxiARBus,
    AxiAWBus,
    AxiBBus,
    AxiLiteBus,
    AxiLiteSlave,
    AxiRBus,
    AxiStreamBus,
    AxiWBus,
    MemoryRegion,
)
from cocotbext.axi.axi_channels import (
    AxiARSource,
    AxiARTransaction,
    AxiAWSource,
    AxiAWTransaction,
    AxiBSink,
    AxiRSink,
    AxiWSource,
    AxiWTransaction,
)
from cocotbext.pcie.core import RootComplex
from cocotbext.pcie.core.tlp import Tlp, TlpType
from cocotbext.pcie.core.utils import PcieId
from cocotbext.pcie.xilinx.us import UltraScalePlusPcieDevice

OKAY, SLVERR = 0, 2
INCR = 1
BAR_SIZE = 1 << 16
#: Registers from here on answer SLVERR.
BAR_BROKEN = 0xF000
MSIX_TABLE, MSIX_PBA = 0x8000, 0x8800
#: Where the root complex takes interrupt messages.
MSI = range(0x8000_0000, 0x8000_1000)


class Complaints(logging.Handler):
    """Collects what any model logs as a warning or worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(record.getMessage())


class Registers(MemoryRegion):
    """BAR0 behind the AXI-Lite port: memory that counts accesses and fails from BAR_BROKEN on."""

    def __init__(self) -> None:
        super().__init__(BAR_SIZE)
        self.reads: list[int] = []
        self.writes: list[tuple[int, bytes]] = []

    async def _read(self, address: int, length: int, **kw: Any) -> bytes:
        self.reads.append(address)
        if address >= BAR_BROKEN:
            raise OSError("no register")
        return bytes(self.mem[address : address + length])

    async def _write(self, address: int, data: bytes, **kw: Any) -> None:
        self.writes.append((address, bytes(data)))
        if address >= BAR_BROKEN:
            raise OSError("no register")
        self.mem[address : address + len(data)] = data


@dataclass
class Host:
    """Memory of the root complex: regions, and what goes wrong where.

    `faults` maps an address to "ur", "ca", "poison", "missing", "late", "twice" or "headless"; a read request
    that covers the address gets it. Checks every request against the limits the host has set.
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
    regions: list[tuple[int, bytearray]] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)
    reads: list[Tlp] = field(default_factory=list)
    writes: list[Tlp] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    completions: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        for kind in (TlpType.MEM_READ, TlpType.MEM_READ_64):
            self.rc.register_rx_tlp_handler(kind, self.on_read)
        for kind in (TlpType.MEM_WRITE, TlpType.MEM_WRITE_64):
            self.rc.register_rx_tlp_handler(kind, self.on_write)

    def map(self, base: int, size: int) -> bytearray:
        """Maps host memory of random content at a bus address."""
        memory = bytearray(self.rng.randbytes(size))
        self.regions.append((base, memory))
        return memory

    def find(self, address: int, length: int) -> tuple[bytearray, int] | None:
        """The region that holds all of a range, and the offset in it."""
        for base, memory in self.regions:
            if base <= address and address + length <= base + len(memory):
                return memory, address - base
        return None

    def check(self, tlp: Tlp) -> None:
        """Record every rule of a memory request that `tlp` breaks."""
        n, first, last = tlp.length, tlp.first_be, tlp.last_be
        write = tlp.fmt_type in (TlpType.MEM_WRITE, TlpType.MEM_WRITE_64)
        limit = self.max_payload if write else self.max_read
        rules = {
            "length 0": n == 0,
            f"longer than {limit}": n * 4 > limit,
            "crosses 4 KiB": (tlp.address & 0xFFF) + n * 4 > 4096,
            "64-bit header below 4 GiB": tlp.address < 1 << 32
            and tlp.fmt_type in (TlpType.MEM_READ_64, TlpType.MEM_WRITE_64),
            "one dword with a last BE": n == 1 and last != 0,
            "no first or last BE": n > 1 and (first == 0 or last == 0),
            "hole in the BEs": n > 1 and (first not in (15, 14, 12, 8) or last not in (15, 7, 3, 1)),
            "no byte": n == 1 and first == 0,
            "wrong requester": tlp.requester_id != self.device.functions[0].pcie_id,
            "tag out of range": not write and tlp.tag >= self.tags,
        }
        self.errors += [f"{rule}: {tlp!r}" for rule, broken in rules.items() if broken]

    async def on_write(self, tlp: Tlp) -> None:
        self.check(tlp)
        self.writes.append(tlp)
        if tlp.address in MSI:
            await self.rc.handle_mem_write_tlp(tlp)
            return
        place = self.find(tlp.address, tlp.length * 4)
        if place is None:
            self.errors.append(f"write to an unmapped address: {tlp!r}")
            return
        memory, at = place
        enables = [tlp.first_be] + [15] * (tlp.length - 2) + [tlp.last_be] * (tlp.length > 1)
        for k, be in enumerate(enables):
            for b in range(4):
                if be >> b & 1:
                    memory[at + 4 * k + b] = tlp.data[4 * k + b]

    async def on_read(self, tlp: Tlp) -> None:
        self.check(tlp)
        self.reads.append(tlp)
        cocotb.start_soon(self.answer(tlp))

    def fault_of(self, tlp: Tlp) -> str:
        """What goes wrong with a read."""
        for address, kind in self.faults.items():
            if tlp.address <= address < tlp.address + tlp.length * 4:
                return kind
        return ""

    async def answer(self, tlp: Tlp) -> None:
        """Send the completions of a read: delayed, split at random read completion boundaries."""
        await Timer(self.rng.randint(*self.latency), "ns")
        kind, place = self.fault_of(tlp), self.find(tlp.address, tlp.length * 4)
        if place is None and not kind:
            self.errors.append(f"read of an unmapped address: {tlp!r}")
            kind = "ur"
        self.completions.append(tlp.tag)
        if kind == "missing":
            return
        if kind == "late":
            await Timer(self.late_ns, "ns")
        if kind == "ur":
            await self.rc.send(Tlp.create_ur_completion_for_tlp(tlp, PcieId(0, 0, 0)))
            return
        if kind == "ca":
            await self.rc.send(Tlp.create_ca_completion_for_tlp(tlp, PcieId(0, 0, 0)))
            return
        assert place is not None
        memory, at = place
        pieces = self.split(tlp, bytes(memory[at : at + tlp.length * 4]))
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


def pauses(seed: int, busy: float) -> Iterator[int]:
    """Endless pause bits: a cycle is lost with probability `busy`, in runs."""
    rng = random.Random(seed)
    while True:
        yield from [int(rng.random() < busy)] * rng.randint(1, 4)


@dataclass
class Read:
    """A read burst's outcome: the beats' words and responses."""

    beats: list[int] = field(default_factory=list)
    resps: list[int] = field(default_factory=list)
    done: Event = field(default_factory=Event)
    at_ns: float = 0.0


class AxiPort:
    """An AXI4 manager on the DMA port: any strobes, many bursts at once; checks the shape of R and B."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.aw = AxiAWSource(AxiAWBus.from_prefix(dut, "s_axi"), dut.clk, dut.rst)
        self.w = AxiWSource(AxiWBus.from_prefix(dut, "s_axi"), dut.clk, dut.rst)
        self.b = AxiBSink(AxiBBus.from_prefix(dut, "s_axi"), dut.clk, dut.rst)
        self.ar = AxiARSource(AxiARBus.from_prefix(dut, "s_axi"), dut.clk, dut.rst)
        self.r = AxiRSink(AxiRBus.from_prefix(dut, "s_axi"), dut.clk, dut.rst)
        self.bytes = len(dut.s_axi_wstrb)
        self.size = self.bytes.bit_length() - 1
        self.waiting_b: deque[tuple[int, Event, list[int]]] = deque()
        self.waiting_r: dict[int, deque[tuple[int, Read]]] = defaultdict(deque)
        self.finished: list[int] = []
        cocotb.start_soon(self._run_b())
        cocotb.start_soon(self._run_r())

    async def _run_b(self) -> None:
        while True:
            b = await self.b.recv()
            want, event, out = self.waiting_b.popleft()
            assert int(b.bid) == want, f"B of id {int(b.bid)}, not {want}"
            out.append(int(b.bresp))
            event.set()

    async def _run_r(self) -> None:
        inside: int | None = None
        while True:
            r = await self.r.recv()
            rid = int(r.rid)
            assert inside in (None, rid), f"R of id {rid} inside a burst of id {inside}"
            assert self.waiting_r[rid], f"R of id {rid} that nobody waits for"
            want, read = self.waiting_r[rid][0]
            read.beats.append(int(r.rdata))
            read.resps.append(int(r.rresp))
            last = bool(int(r.rlast))
            assert last == (len(read.beats) == want), f"RLAST at beat {len(read.beats)} of {want}"
            inside = None if last else rid
            if last:
                self.waiting_r[rid].popleft()
                self.finished.append(rid)
                read.done.set()

    def start_write(
        self,
        address: int,
        data: bytes,
        strobes: bytes | None = None,
        id_: int = 0,
        size: int | None = None,
        burst: int = INCR,
        user: int = 0,
    ) -> tuple[Event, list[int]]:
        """Post a burst that writes `data` at a byte address, except where `strobes` has a 0."""
        size = self.size if size is None else size
        strobes = bytes([1]) * len(data) if strobes is None else strobes
        step, at, beats = 1 << size, 0, 0
        here = address
        words: list[tuple[int, int]] = []
        while at < len(data):
            row = here & ~(self.bytes - 1)
            count = min(step - (here & (step - 1)), len(data) - at)
            word = strb = 0
            for k in range(count):
                lane = here - row + k
                word |= data[at + k] << 8 * lane
                strb |= strobes[at + k] << lane
            words.append((word, strb))
            here, at, beats = here + count, at + count, beats + 1
        aw = AxiAWTransaction(
            awid=id_, awaddr=address, awlen=beats - 1, awsize=size, awburst=burst, awuser=user
        )
        self.aw.send_nowait(aw)
        for k, (word, strb) in enumerate(words):
            self.w.send_nowait(AxiWTransaction(wdata=word, wstrb=strb, wlast=k == beats - 1))
        event: Event = Event()
        out: list[int] = []
        self.waiting_b.append((id_, event, out))
        return event, out

    async def write(self, address: int, data: bytes, **kw: Any) -> int:
        """Write and wait for B; its response."""
        event, out = self.start_write(address, data, **kw)
        await event.wait()
        return out[0]

    def start_read(
        self,
        address: int,
        beats: int,
        id_: int = 0,
        size: int | None = None,
        burst: int = INCR,
        user: int = 0,
    ) -> Read:
        """Post a read burst."""
        size = self.size if size is None else size
        self.ar.send_nowait(
            AxiARTransaction(
                arid=id_, araddr=address, arlen=beats - 1, arsize=size, arburst=burst, aruser=user
            )
        )
        read = Read()
        self.waiting_r[id_].append((beats, read))
        return read

    def data_of(self, read: Read, address: int, size: int | None = None) -> bytes:
        """The bytes a burst at `address` returned."""
        size = self.size if size is None else size
        out = bytearray()
        here = address
        for word in read.beats:
            end = (here & ~((1 << size) - 1)) + (1 << size)
            lane = here & (self.bytes - 1)
            out += word.to_bytes(self.bytes, "little")[lane : lane + end - here]
            here = end
        return bytes(out)


class Env:
    """Root complex, hard-block model, host memory, registers and AXI port around wrap_pcie_endpoint."""

    def __init__(
        self, dut: Any, max_payload: int = 256, max_read: int = 512, extended_tag: bool = False
    ) -> None:
        self.dut = dut
        self.rng = random.Random(cocotb.RANDOM_SEED)
        self.complaints = Complaints()
        self.expected: list[str] = []
        self.events: Counter[str] = Counter()
        root = logging.getLogger("cocotb")
        for handler in [h for h in root.handlers if isinstance(h, Complaints)]:
            root.removeHandler(handler)
        root.addHandler(self.complaints)
        for name in ("cocotb.pcie", f"cocotb.{dut._name}"):
            logging.getLogger(name).setLevel(logging.WARNING)
        width = len(dut.s_axis_cq_tdata)
        self.bytes = width // 8
        self.payload, self.read_size, self.extended = max_payload, max_read, extended_tag
        dut.extended_tag.value = 0
        dut.irq.value = 0
        self.rc = RootComplex()
        self.rc.log.setLevel(logging.WARNING)
        self.device = UltraScalePlusPcieDevice(
            pcie_generation=3,
            pcie_link_width={128: 4, 256: 8, 512: 16}[width],
            user_clk_frequency=250e6,
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
            pf0_msix_table_offset=MSIX_TABLE,
            pf0_msix_pba_offset=MSIX_PBA,
        )
        self.device.log.setLevel(logging.WARNING)
        self.device.functions[0].log.setLevel(logging.WARNING)
        self.device.functions[0].configure_bar(0, BAR_SIZE)
        self.rc.make_port().connect(self.device)
        self.registers = Registers()
        self.axil = AxiLiteSlave(
            AxiLiteBus.from_prefix(dut, "m_axil"), dut.clk, dut.rst, target=self.registers
        )
        self.axi = AxiPort(dut)
        self.host = Host(
            self.rc, self.device, self.rng, max_payload, max_read, tags=256 if extended_tag else 32
        )
        cocotb.start_soon(self._watch_events())

    async def start(self) -> Env:
        """Reset, enumerate, set Max_Payload and Max_Read_Request, allow bus mastering."""
        await RisingEdge(self.dut.clk)
        while not int(self.dut.rst.value):
            await RisingEdge(self.dut.clk)
        while int(self.dut.rst.value):
            await RisingEdge(self.dut.clk)
        await self.rc.enumerate()
        # Probing for devices that are not there is part of enumeration.
        self.complaints.seen.clear()
        self.pci = self.rc.find_device(self.device.functions[0].pcie_id)
        await self.pci.enable_device()
        await self.pci.set_master()
        cap = self.device.functions[0].pcie_cap
        cap.max_payload_size = self.payload.bit_length() - 8
        cap.max_read_request_size = self.read_size.bit_length() - 8
        cap.extended_tag_field_enable = self.extended
        self.dut.extended_tag.value = int(self.extended)
        await Timer(400, "ns")
        return self

    def press(self, idle: float = 0.0, full: float = 0.0) -> None:
        """Random idle cycles on what drives the design, random back-pressure on what it drives."""
        seeds = itertools.count(self.rng.randrange(1 << 30))
        channels = self.axil.write_if, self.axil.read_if
        sources = [self.device.cq_source, self.device.rc_source, self.axi.aw, self.axi.w, self.axi.ar]
        sinks = [self.device.rq_sink, self.device.cc_sink, self.axi.b, self.axi.r]
        sources += [channels[0].b_channel, channels[1].r_channel]
        sinks += [channels[0].aw_channel, channels[0].w_channel, channels[1].ar_channel]
        for group, busy in ((sources, idle), (sinks, full)):
            for channel in group:
                if busy:
                    channel.set_pause_generator(pauses(next(seeds), busy))

    async def _watch_events(self) -> None:
        names = ("error", "unexpected", "timeout", "unsupported")
        while True:
            await self.dut.events.value_change
            await RisingEdge(self.dut.clk)
            value = int(self.dut.events.value)
            while value:
                for k, name in enumerate(names):
                    self.events[name] += value >> k & 1
                await RisingEdge(self.dut.clk)
                value = int(self.dut.events.value)

    def expect(self, *patterns: str) -> None:
        """What the models may complain about in this test."""
        self.expected += patterns

    def check(self) -> None:
        """Raise AssertionError on a broken rule, an unexpected complaint or an answer that nobody got."""
        bad = [c for c in self.complaints.seen if not any(re.search(e, c) for e in self.expected)]
        assert not bad, f"{len(bad)} complaints, first: {bad[0][:400]}"
        assert not self.host.errors, (
            f"{len(self.host.errors)} broken rules, first: {self.host.errors[0][:400]}"
        )
        assert not self.axi.waiting_b, "a write without B"
        assert not any(self.axi.waiting_r.values()), "a read without R"
