"""The endpoint's parts between the host of tb/pcie_host.py and an AXI port."""

from __future__ import annotations

import random
from collections import Counter, defaultdict, deque
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

from tb.pcie_host import Link

OKAY, SLVERR = 0, 2
INCR = 1
BAR_SIZE = 1 << 16
#: Registers from here on answer SLVERR.
BAR_BROKEN = 0xF000
MSIX_TABLE, MSIX_PBA = 0x8000, 0x8800


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


class Env(Link):
    """The link, registers and an AXI port around wrap_pcie_endpoint."""

    def __init__(self, dut: Any, **limits: Any) -> None:
        """`limits`: max_payload, max_read, extended_tag of Link."""
        super().__init__(
            dut,
            bar_size=BAR_SIZE,
            msix=(MSIX_TABLE, MSIX_PBA),
            rng=random.Random(cocotb.RANDOM_SEED),
            **limits,
        )
        self.events: Counter[str] = Counter()
        dut.extended_tag.value = 0
        dut.irq.value = 0
        self.registers = Registers()
        self.axil = AxiLiteSlave(
            AxiLiteBus.from_prefix(dut, "m_axil"), dut.clk, dut.rst, target=self.registers
        )
        self.axi = AxiPort(dut)
        cocotb.start_soon(self._watch_events())

    async def start(self) -> Env:
        """Bring the link up."""
        await self.up()
        self.dut.extended_tag.value = int(self.extended)
        await Timer(400, "ns")
        return self

    def press(self, idle: float = 0.0, full: float = 0.0) -> None:
        """Random idle cycles and back-pressure on every stream and channel."""
        write, read = self.axil.write_if, self.axil.read_if
        sources = [self.device.cq_source, self.device.rc_source, self.axi.aw, self.axi.w, self.axi.ar]
        sinks = [self.device.rq_sink, self.device.cc_sink, self.axi.b, self.axi.r]
        sources += [write.b_channel, read.r_channel]
        sinks += [write.aw_channel, write.w_channel, read.ar_channel]
        self.press_on(sources, sinks, idle, full)

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

    def check(self) -> None:
        """Raise AssertionError on a broken rule, an unexpected complaint or an answer that nobody got."""
        super().check()
        assert not self.axi.waiting_b, "a write without B"
        assert not any(self.axi.waiting_r.values()), "a read without R"
