"""Environment of dmmu_core: streams, AXI master side, a controllable memory, and a contract checker.

One coroutine looks at every clock edge (one packed handshake vector a cycle), keeps time in device
cycles, follows each access from the virtual to the bus side and back, and checks on the way what
docs/device-interface.md promises of every access. Tests drive it through `read`, `write` and the
command methods. All times are device cycles at whose closing edge a handshake was sampled.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, Event, RisingEdge
from cocotb.utils import get_sim_time
from cocotb_bus.drivers import BusDriver
from cocotb_bus.monitors import BusMonitor
from cocotbext.axi import AxiBus, AxiMaster
from cocotbext.axi.axi_channels import (
    AxiARBus,
    AxiARSource,
    AxiARTransaction,
    AxiAWBus,
    AxiAWSource,
    AxiAWTransaction,
    AxiWBus,
    AxiWSource,
    AxiWTransaction,
)

from sw_model import device_interface as di
from sw_model.device_interface import Code, Op, Size

PERIOD_NS = 4
PAGE = 4096
PAGE_BYTES = {Size.P4K: 1 << 12, Size.P2M: 1 << 21, Size.P1G: 1 << 30}
R, W, RW = 1, 2, 3
OKAY, SLVERR, DECERR = 0, 2, 3
# The page that tests use unless another is wanted, and its frame.
VA = 0x7F12_3456_7000
PA = 0x0012_3450_0000
COUNTERS = [
    name.removesuffix("_LO")[4:]
    for name in di.Reg.__members__
    if name.startswith("CNT_") and name.endswith("_LO")
]

# Bit numbers in the handshake vector of wrap_core: valid, and ready one above.
(S_AR, S_AW, S_W, S_R, S_B, M_AR, M_AW, M_W, M_R, M_B, CMD, FLT, EVT) = range(0, 26, 2)
BUSY = sum(1 << b for b in (S_AR, S_AW, S_R, S_B, M_AR, M_AW, M_W, M_R, M_B, CMD))


def pack(record: Any, **values: int) -> int:
    """A ring record as a 256-bit integer from lower-case field names."""
    word = 0
    for key, value in values.items():
        f = record.fields[key.upper()]
        if value >> f.width:
            raise OverflowError(f"{record.name}.{f.name}")
        word |= value << (64 * f.word + f.lsb)
    return word


def unpack(record: Any, word: int) -> dict[str, int]:
    """All fields of a 256-bit ring record by lower-case name."""
    return {
        f.name.lower(): (word >> (64 * f.word + f.lsb)) & ((1 << f.width) - 1) for f in record.fields.values()
    }


def now() -> int:
    """Clock edges since time 0; the same number for every coroutine that an edge wakes."""
    return int(get_sim_time("ns")) // PERIOD_NS


class ContractError(AssertionError):
    """The device broke a promise of docs/device-interface.md."""


class Cmd:
    """One command: fields, cycle of its handshake, and its event record once there is one."""

    def __init__(self, n: int, fields: dict[str, int], word: int) -> None:
        self.n = n
        self.f = fields
        self.word = word
        self.index = n & 0xFFFF
        self.t_acc = -1
        self.sent = Event()
        self.done = Event()
        self.event: dict[str, int] | None = None
        self.t_event = -1
        self.t_event_valid = -1

    @property
    def op(self) -> int:
        """The opcode."""
        return self.f["op"]

    @property
    def effect(self) -> int:
        """Device cycle at which the command took effect, from its event record."""
        assert self.event is not None
        return self.event["effect"]

    def __repr__(self) -> str:
        return f"<Cmd {self.n} {self.f} t={self.t_acc}>"


class CmdDriver(BusDriver):
    """Drives the command stream, one command a cycle while `cmd_ready`."""

    _signals: ClassVar[list[str]] = ["valid", "ready", "data", "index"]

    def __init__(self, dut: Any, env: CoreEnv) -> None:
        super().__init__(dut, "cmd", dut.clk, case_insensitive=False)
        self.env = env
        self.bus.valid.value = 0
        self.bus.data.value = 0
        self.bus.index.value = 0

    async def _driver_send(self, cmd: Cmd, sync: bool = True) -> None:
        edge = RisingEdge(self.clock)
        if sync:
            await edge
        self.bus.data.value = cmd.word
        self.bus.index.value = cmd.index
        self.bus.valid.value = 1
        await edge
        while int(self.bus.ready.value) != 1:
            await edge
        self.env.cmd_taken(cmd, now())
        if not self._sendQ:
            self.bus.valid.value = 0


class StreamMonitor(BusMonitor):
    """Receives (cycle valid was first seen, cycle of the handshake, 256-bit record) of a record stream.

    Checks that a record does not change while it waits. It may be withdrawn only where `withdrawable`
    (a detach forgets faults).
    """

    _signals: ClassVar[list[str]] = ["valid", "ready", "data"]

    def __init__(self, dut: Any, name: str, withdrawable: bool, callback: Callable) -> None:
        self.withdrawable = withdrawable
        super().__init__(dut, name, dut.clk, callback=callback, case_insensitive=False)

    async def _monitor_recv(self) -> None:
        edge, rise = RisingEdge(self.clock), RisingEdge(self.bus.valid)
        while True:
            if int(self.bus.valid.value) == 0:
                await rise
            await edge
            since, first = now(), None
            while int(self.bus.valid.value):
                word = int(self.bus.data.value)
                if first is None:
                    first = word
                elif word != first and not self.withdrawable:
                    raise ContractError(f"{self.name}: record changed while valid: {first:x} -> {word:x}")
                if int(self.bus.ready.value):
                    self._recv((since, now(), word))
                    since, first = now() + 1, None
                await edge
            if first is not None and not self.withdrawable:
                raise ContractError(f"{self.name}: record withdrawn")


class Access:
    """One access at the virtual side, and what became of it."""

    def __init__(self, kind: int, id: int, va: int, beats: int, size: int, user: int, attr: int) -> None:
        self.kind = kind  # R or W
        self.id = id
        self.va = va
        self.beats = beats
        self.size = size
        self.user = user
        self.attr = attr  # lock, cache, prot, qos, burst
        self.wdata: list[tuple[int, int]] | None = None
        self.t_valid = self.t_acc = self.t_resp = self.t_done = -1
        self.txn: Txn | None = None
        self.rdata: list[int] = []
        self.resps: list[int] = []
        self.done = Event()

    @property
    def pasid(self) -> int:
        """Address space."""
        return self.user & 0xFFFFF

    @property
    def req(self) -> int:
        """Requester."""
        return self.user >> 20

    @property
    def resp(self) -> int:
        """The AXI response once done (R: of every beat, they agree)."""
        return self.resps[0]

    @property
    def latency(self) -> int:
        """Cycles from acceptance to AxVALID at the bus side."""
        assert self.txn is not None, f"{self} never reached the bus"
        return self.txn.t_valid - self.t_acc

    def __repr__(self) -> str:
        d = "R" if self.kind == R else "W"
        return f"<{d} id={self.id} pasid={self.pasid:x} va={self.va:x} beats={self.beats} acc={self.t_acc}>"


class Txn:
    """One transaction at the bus side."""

    def __init__(self, kind: int, acc: Access, addr: int, t_valid: int, t_acc: int) -> None:
        self.kind = kind
        self.acc = acc
        self.id = acc.id
        self.addr = addr
        self.beats = acc.beats
        self.t_valid = t_valid
        self.t_acc = t_acc
        self.t_ready = 0
        self.t_done = -1
        self.resp = OKAY
        self.sent = 0
        self.data: list[int] = []
        self.wbeats: list[tuple[int, int]] = []
        self.grant: Grant | None = None

    def __repr__(self) -> str:
        return f"<Txn addr={self.addr:x} valid={self.t_valid} of {self.acc}>"


class Grant:
    """One page of a fill: the device may use it until an invalidation that covers it completes."""

    def __init__(self, pasid: int, va: int, pa: int, size: int, perm: int, n: int, t: int) -> None:
        self.pasid, self.va, self.pa, self.size, self.perm, self.n, self.t = pasid, va, pa, size, perm, n, t
        self.bytes = PAGE_BYTES[Size(size)]
        self.dead: int | None = None  # completion cycle of an invalidation that covers it
        self.last_acc = -1  # latest acceptance of an access that used it
        self.last: Txn | None = None

    def __repr__(self) -> str:
        return f"<Grant pasid={self.pasid:x} va={self.va:x} pa={self.pa:x} size={self.size} dead={self.dead}>"


class Memory:
    """The memory behind m_axi. Responses wait for `hold`, a latency, and may pass other IDs.

    `hold(txn)` true keeps the response back. `lat` is (min, max) cycles. With `reorder` any ID whose
    oldest response is due may go next; with `interleave` read bursts of different IDs mix.
    `p_ar`, `p_aw`, `p_w` are the probabilities of ready per cycle. `aw_waits_w` makes AWREADY wait for
    WVALID, `w_waits_aw` the reverse; AXI allows either.
    """

    def __init__(self, env: CoreEnv) -> None:
        self.env = env
        self.pages: dict[int, bytearray] = {}
        self.hold: Callable[[Txn], bool] = lambda txn: False
        self.error: Callable[[Txn], int] = lambda txn: OKAY
        self.lat = (1, 1)
        self.reorder = False
        self.interleave = False
        self.p_ar = self.p_aw = self.p_w = 1.0
        self.aw_waits_w = self.w_waits_aw = False
        self.rq: list[Txn] = []
        self.bq: list[Txn] = []
        self.aw: deque[Txn] = deque()
        self.w: deque[tuple[int, int, int]] = deque()
        self.cur: Txn | None = None
        self.r_on: Txn | None = None
        self.b_on: Txn | None = None
        self.log: list[Txn] = []
        self.max_inflight = 0

    def page(self, frame: int) -> bytearray:
        """The 4-KiB frame; first touched it holds the bus address of each 8-byte word."""
        if frame not in self.pages:
            words = np.arange(512, dtype="<u8") * np.uint64(8) + np.uint64(frame << 12)
            self.pages[frame] = bytearray(words.tobytes())
        return self.pages[frame]

    def load(self, addr: int, n: int) -> bytes:
        """n bytes inside one frame."""
        off = addr & (PAGE - 1)
        return bytes(self.page(addr >> 12)[off : off + n])

    def inflight(self) -> int:
        """Transactions accepted whose response has not left."""
        return len(self.rq) + len(self.bq) + len(self.aw)

    def beat_addr(self, txn: Txn, i: int) -> int:
        """Bus-word address of beat i of an INCR, FIXED or WRAP burst."""
        nb = 1 << txn.acc.size
        burst = txn.acc.attr & 3
        if burst == 0:
            a = txn.addr
        elif burst == 2:
            span = nb * txn.beats
            base = txn.addr & ~(span - 1)
            a = base + ((txn.addr - base + i * nb) & (span - 1))
        else:
            a = (txn.addr & ~(nb - 1)) + i * nb if i else txn.addr
        return a & ~(self.env.bus_bytes - 1)

    def finish_read(self, txn: Txn) -> None:
        """Take the data of a read burst at the moment its response starts."""
        n = self.env.bus_bytes
        txn.data = [int.from_bytes(self.load(self.beat_addr(txn, i), n), "little") for i in range(txn.beats)]
        txn.resp = self.error(txn)

    def finish_write(self, txn: Txn) -> None:
        """Store the beats of a write burst."""
        txn.resp = self.error(txn)
        if txn.resp != OKAY:
            return
        n = self.env.bus_bytes
        for i, (data, strb) in enumerate(txn.wbeats):
            a = self.beat_addr(txn, i)
            page, off = self.page(a >> 12), a & (PAGE - 1)
            b = data.to_bytes(n, "little")
            if strb == (1 << n) - 1:
                page[off : off + n] = b
            else:
                for k in range(n):
                    if strb >> k & 1:
                        page[off + k] = b[k]

    def pick(self, q: list[Txn], t: int) -> Txn | None:
        """The next response of a queue, respecting the order inside each ID."""
        seen: set[int] = set()
        due = []
        for txn in q:
            if txn.id in seen:
                continue
            seen.add(txn.id)
            if txn.t_ready <= t and not self.hold(txn):
                due.append(txn)
                if not self.reorder:
                    break
        if not due:
            return None
        return self.env.rng.choice(due) if self.reorder else due[0]


class CoreEnv:
    """dmmu_core with everything around it."""

    def __init__(self, dut: Any, axi: bool = False) -> None:
        self.dut = dut
        self.use_axi = axi
        self.log = logging.getLogger("cocotb.core")
        self.rng = random.Random(cocotb.RANDOM_SEED)
        self.data_w = len(dut.s_axi_rdata)
        self.bus_bytes = self.data_w // 8
        self.size = self.bus_bytes.bit_length() - 1
        self.id_w = len(dut.s_axi_rid)
        self.park = int(dut.PARK.value)
        self.mshrs = int(dut.MSHRS.value)
        self.sets = int(dut.SETS.value)
        self.ways = int(dut.WAYS.value)
        self.pasids = int(dut.PASIDS.value)
        self.offset = 0  # device cycle minus now()
        self.mem = Memory(self)
        self.p_rready = self.p_bready = self.p_fault = self.p_event = 1.0
        self.pending: dict[int, deque[Access]] = {R: deque(), W: deque()}
        self.unissued: dict[tuple[int, int], deque[Access]] = {}
        self.unanswered: dict[tuple[int, int], deque[Access]] = {}
        self.open: set[Access] = set()
        self.accesses: list[Access] = []
        self.inflight: set[Txn] = set()
        self.cmds: list[Cmd] = []
        self.by_tag: dict[int, Cmd] = {}
        self.completions: deque[Cmd] = deque()
        self.undone_inv: list[Cmd] = []
        self.errors: list[dict[str, int]] = []
        self.faults: list[dict[str, int]] = []
        self.outstanding: dict[int, dict[str, int]] = {}
        self.on_fault: Callable[[dict[str, int]], None] | None = None
        self.on_event: Callable[[dict[str, int]], None] | None = None
        self.on_issue: Callable[[Txn], None] | None = None
        self.on_done: Callable[[Access], None] | None = None
        self.grants: dict[tuple[int, int, int], list[Grant]] = {}
        self.attached: dict[int, str] = {}
        self.next_seq: int | None = None
        self.since = {S_AR: -1, S_AW: -1, M_AR: -1, M_AW: -1}
        self.held_pkt: dict[int, int] = {}
        self.failure: BaseException | None = None

    # ---- start and time -------------------------------------------------------------------------

    @classmethod
    async def make(cls, dut: Any, axi: bool = False, **mem: Any) -> CoreEnv:
        """Start the clock, reset, wait for `ready`; keywords set attributes of the memory."""
        env = cls(dut, axi)
        for key, value in mem.items():
            setattr(env.mem, key, value)
        await env.start()
        return env

    async def start(self) -> None:
        """Clock, reset and agents."""
        dut = self.dut
        for name in ("m_arready", "m_awready", "m_wready", "m_rvalid", "m_r_pkt", "m_bvalid", "m_b_pkt"):
            dut[name].value = 0
        for name in ("cmd_valid", "fault_ready", "event_ready", "fault_ring_full", "stat_addr", "cfg_enable"):
            dut[name].value = 0
        for ch in ("ar", "aw", "w"):
            dut[f"s_axi_{ch}valid"].value = 0
        dut.s_axi_rready.value = 0
        dut.s_axi_bready.value = 0
        dut.rst.value = 1
        Clock(dut.clk, PERIOD_NS, unit="ns").start(start_high=False)
        await ClockCycles(dut.clk, 5)
        dut.rst.value = 0
        for _ in range(5000):
            await RisingEdge(dut.clk)
            if dut.ready.value == 1:
                break
        else:
            raise ContractError("ready did not rise within 5000 cycles of reset")
        self.offset = int(dut.cycle.value) - now()
        self.cmd = CmdDriver(dut, self)
        self.fault_mon = StreamMonitor(dut, "fault", True, self._fault)
        self.event_mon = StreamMonitor(dut, "event", False, self._event)
        if self.use_axi:
            self.axi = AxiMaster(AxiBus.from_prefix(dut, "s_axi"), dut.clk)
            for part in (self.axi.write_if, self.axi.read_if):
                part.log.setLevel(logging.WARNING)
        else:
            self.ar_src = AxiARSource(AxiARBus.from_prefix(dut, "s_axi"), dut.clk)
            self.aw_src = AxiAWSource(AxiAWBus.from_prefix(dut, "s_axi"), dut.clk)
            self.w_src = AxiWSource(AxiWBus.from_prefix(dut, "s_axi"), dut.clk)
            dut.s_axi_rready.value = 1
            dut.s_axi_bready.value = 1
        dut.fault_ready.value = 1
        dut.event_ready.value = 1
        dut.m_arready.value = 1
        dut.m_awready.value = 1
        dut.m_wready.value = 1
        dut.cfg_enable.value = 1
        self._on = dict.fromkeys(("fr", "er", "rr", "br", "ar", "aw", "w"), 1)
        self.task = cocotb.start_soon(self._run())

    def t(self) -> int:
        """Device cycle of the latest clock edge."""
        return now() + self.offset

    async def cycles(self, n: int) -> None:
        """Let n clock edges pass."""
        if n > 0:
            await ClockCycles(self.dut.clk, n)

    async def until(self, cond: Callable[[], Any], limit: int = 2000, what: object = "") -> None:
        """Wait until the condition holds, at most `limit` cycles; ContractError after that."""
        edge = RisingEdge(self.dut.clk)
        for _ in range(limit):
            if cond():
                return
            await edge
        raise ContractError(f"{what or 'condition'}: not reached in {limit} cycles at cycle {self.t()}")

    async def never(self, cond: Callable[[], Any], cycles: int, what: str) -> None:
        """Check that the condition stays false for a number of cycles."""
        edge = RisingEdge(self.dut.clk)
        for _ in range(cycles):
            assert not cond(), f"{what} at cycle {self.t()}"
            await edge

    # ---- accesses -------------------------------------------------------------------------------

    def _user(self, pasid: int, req: int) -> int:
        return req << 20 | pasid

    def read(
        self,
        pasid: int,
        va: int,
        id: int = 0,
        beats: int = 1,
        req: int = 0,
        size: int | None = None,
        burst: int = 1,
        lock: int = 0,
        cache: int = 3,
        prot: int = 2,
        qos: int = 0,
    ) -> Access:
        """Queue a read burst; returns at once."""
        size = self.size if size is None else size
        attr = burst | qos << 2 | prot << 6 | cache << 9 | lock << 13
        acc = Access(R, id, va, beats, size, self._user(pasid, req), attr)
        self.pending[R].append(acc)
        self.open.add(acc)
        self.ar_src.send_nowait(
            AxiARTransaction(
                arid=id,
                araddr=va,
                arlen=beats - 1,
                arsize=size,
                arburst=burst,
                arlock=lock,
                arcache=cache,
                arprot=prot,
                arqos=qos,
                aruser=acc.user,
            )
        )
        return acc

    def write(
        self,
        pasid: int,
        va: int,
        id: int = 0,
        beats: int = 1,
        req: int = 0,
        data: list[int] | None = None,
        strb: list[int] | None = None,
        size: int | None = None,
        burst: int = 1,
        send_data: bool = True,
        lock: int = 0,
        cache: int = 3,
        prot: int = 2,
        qos: int = 0,
    ) -> Access:
        """Queue a write burst with random data where none is given; returns at once."""
        size = self.size if size is None else size
        attr = burst | qos << 2 | prot << 6 | cache << 9 | lock << 13
        acc = Access(W, id, va, beats, size, self._user(pasid, req), attr)
        if data is None:
            data = [self.rng.getrandbits(self.data_w) for _ in range(beats)]
        if strb is None:
            strb = [(1 << self.bus_bytes) - 1] * beats
        acc.wdata = list(zip(data, strb, strict=True))
        self.pending[W].append(acc)
        self.open.add(acc)
        self.aw_src.send_nowait(
            AxiAWTransaction(
                awid=id,
                awaddr=va,
                awlen=beats - 1,
                awsize=size,
                awburst=burst,
                awlock=lock,
                awcache=cache,
                awprot=prot,
                awqos=qos,
                awuser=acc.user,
            )
        )
        if send_data:
            self.send_data(acc)
        return acc

    def send_data(self, acc: Access) -> None:
        """Queue the data beats of a write made with `send_data=False`."""
        assert acc.wdata is not None
        for i, (d, s) in enumerate(acc.wdata):
            self.w_src.send_nowait(AxiWTransaction(wdata=d, wstrb=s, wlast=int(i == acc.beats - 1)))

    async def finish(self, *accs: Access, limit: int = 3000) -> None:
        """Wait for the responses of these accesses, or of all."""
        if accs:
            await self.until(lambda: all(a.t_done >= 0 for a in accs), limit, accs[:4])
        else:
            await self.until(lambda: not self.open, limit, self.open)

    # ---- commands -------------------------------------------------------------------------------

    def command(self, complete: bool = False, raw: int | None = None, **f: int) -> Cmd:
        """Queue one command record; returns at once."""
        n = len(self.cmds)
        fields = {"op": 0, "flags": int(complete), "tag": n & 0xFFFF, **f}
        word = pack(di.CMD, **fields)
        if raw is not None:
            word |= raw
        cmd = Cmd(n, fields, word)
        self.cmds.append(cmd)
        self.by_tag[n & 0xFFFF] = cmd
        self.cmd.append(cmd)
        return cmd

    def fill(
        self,
        pasid: int,
        va: int,
        pa: int,
        perm: int = RW,
        size: int = Size.P4K,
        npages: int = 1,
        complete: bool = False,
    ) -> Cmd:
        """FILL npages pages of a size from va to pa."""
        return self.command(
            complete, op=Op.FILL, pasid=pasid, size=size, perm=perm, va=va, pa=pa, npages=npages
        )

    def respond(self, fault: dict[str, int], code: int = Code.SUCCESS, complete: bool = False) -> Cmd:
        """RESPOND to a fault record."""
        return self.command(
            complete,
            op=Op.RESPOND,
            pasid=fault["pasid"],
            code=code,
            va=0,
            seq=fault["seq"],
            fault=fault["fault"],
        )

    def invalidate(self, pasid: int, va: int, npages: int = 1, complete: bool = True) -> Cmd:
        """INVALIDATE npages 4-KiB pages from va."""
        return self.command(complete, op=Op.INVALIDATE, pasid=pasid, va=va, npages=npages)

    def invalidate_pasid(self, pasid: int, complete: bool = True) -> Cmd:
        """INVALIDATE_PASID."""
        return self.command(complete, op=Op.INVALIDATE_PASID, pasid=pasid)

    def invalidate_all(self, complete: bool = True) -> Cmd:
        """INVALIDATE_ALL."""
        return self.command(complete, op=Op.INVALIDATE_ALL)

    def attach(self, *pasids: int) -> None:
        """ATTACH each PASID."""
        for p in pasids:
            self.command(op=Op.ATTACH, pasid=p)

    def detach(self, pasid: int, complete: bool = True) -> Cmd:
        """DETACH."""
        return self.command(complete, op=Op.DETACH, pasid=pasid)

    def fence(self) -> Cmd:
        """FENCE with a completion."""
        return self.command(True, op=Op.FENCE)

    async def done(self, *cmds: Cmd, limit: int = 3000) -> None:
        """Wait for the event records of these commands."""
        await self.until(lambda: all(c.event for c in cmds), limit, cmds[:4])

    async def sync(self, limit: int = 3000) -> Cmd:
        """FENCE and wait for it: every earlier command has completed."""
        c = self.fence()
        await self.done(c, limit=limit)
        return c

    async def counter(self, name: str) -> int:
        """One of the device's counters."""
        self.dut.stat_addr.value = COUNTERS.index(name)
        # A total is at most 40 cycles behind.
        await ClockCycles(self.dut.clk, 40)
        return int(self.dut.stat_data.value)

    async def counters(self, *names: str) -> dict[str, int]:
        """Several counters by name."""
        return {n: await self.counter(n) for n in names}

    # ---- what the streams bring -----------------------------------------------------------------

    def cmd_taken(self, cmd: Cmd, t: int) -> None:
        """The command was handed over: from here on it may take effect."""
        cmd.t_acc = t + self.offset
        op = cmd.op
        f = cmd.f
        if f["flags"] & 1:
            self.completions.append(cmd)
        if cmd.word != pack(di.CMD, **f):
            cmd.sent.set()
            return
        if op == Op.FILL:
            self._grant(cmd)
        elif op == Op.ATTACH and self.attached.get(f["pasid"]) is None:
            self.attached[f["pasid"]] = "on"
        elif op in (Op.INVALIDATE, Op.INVALIDATE_PASID, Op.INVALIDATE_ALL, Op.DETACH):
            if op == Op.INVALIDATE:
                va, npages = f["va"], f["npages"]
                if va % PAGE or not npages or va + npages * PAGE > 1 << 48:
                    cmd.sent.set()
                    return
            self.undone_inv.append(cmd)
            if op == Op.DETACH and f["pasid"] in self.attached:
                self.attached[f["pasid"]] = "detaching"
        elif op == Op.RESPOND:
            rec = self.outstanding.get(f.get("fault", 0))
            if rec is not None and rec["seq"] == f.get("seq", 0):
                rec["answered"] = cmd.t_acc
                rec["code"] = f["code"]
                del self.outstanding[rec["fault"]]
        cmd.sent.set()

    def _grant(self, cmd: Cmd) -> None:
        f = {"size": 0, "perm": 0, "npages": 0, "va": 0, "pa": 0, **cmd.f}
        if f["size"] > 2 or f["npages"] > 1 << 18 or not f["perm"]:
            return
        nb = PAGE_BYTES[Size(f["size"])]
        if f["va"] % nb or f["pa"] % nb:
            return
        for i in range(f["npages"]):
            g = Grant(f["pasid"], f["va"] + i * nb, f["pa"] + i * nb, f["size"], f["perm"], cmd.n, cmd.t_acc)
            self.grants.setdefault((g.pasid, g.size, g.va), []).append(g)

    def grants_of(self, pasid: int, va: int) -> list[Grant]:
        """Every grant, of any page size, that ever covered an address."""
        found: list[Grant] = []
        for size, nb in PAGE_BYTES.items():
            found += self.grants.get((pasid, int(size), va & ~(nb - 1)), ())
        return found

    def covers(self, inv: Cmd, g: Grant) -> bool:
        """True when the invalidation comes after the fill and overlaps its page."""
        if g.n > inv.n:
            return False
        if inv.op == Op.INVALIDATE_ALL:
            return True
        if g.pasid != inv.f["pasid"]:
            return False
        if inv.op != Op.INVALIDATE:
            return True
        return g.va < inv.f["va"] + inv.f["npages"] * PAGE and inv.f["va"] < g.va + g.bytes

    def _inv_completed(self, inv: Cmd, t: int, effect: int | None) -> None:
        """Contract items 1 and 2 at a completion; the grants it covers are dead from here."""
        for txn in self.inflight:
            g = txn.grant
            if g is not None and self.covers(inv, g):
                raise ContractError(f"{inv} completed at {t} while {txn} is in flight under {g}")
        for gs in self.grants.values():
            for g in gs:
                if g.dead is None and self.covers(inv, g):
                    g.dead = t
                    if effect is not None and g.last_acc > effect:
                        raise ContractError(f"{g.last} hit {g} after {inv} took effect at {effect}")
        if inv.op == Op.DETACH:
            p = inv.f["pasid"]
            self.attached.pop(p, None)
            for ident in [i for i, r in self.outstanding.items() if r["pasid"] == p]:
                del self.outstanding[ident]

    def _event(self, item: tuple[int, int, int]) -> None:
        since, t, word = item
        ev = unpack(di.EVENT, word)
        ev["t"], ev["since"] = t + self.offset, since + self.offset
        cmd = self.by_tag.get(ev["tag"])
        if cmd is None or cmd.t_acc < 0:
            raise ContractError(f"event for a command never sent: {ev}")
        if ev["index"] != cmd.index or ev["op"] != cmd.word & 0xFF:
            raise ContractError(f"event {ev} does not name {cmd}")
        if cmd.event is not None:
            raise ContractError(f"second event {ev} of {cmd}")
        if ev["type"] == di.Event.COMMAND_ERROR:
            self.errors.append(ev)
            if cmd in self.completions:
                self.completions.remove(cmd)
            if cmd in self.undone_inv:
                self.undone_inv.remove(cmd)
        else:
            if ev["type"] != di.Event.COMPLETE:
                raise ContractError(f"event type {ev['type']}")
            if not self.completions or self.completions[0] is not cmd:
                raise ContractError(f"completion of {cmd} out of ring order, next is {self.completions}")
            self.completions.popleft()
            while self.undone_inv and self.undone_inv[0].n <= cmd.n:
                inv = self.undone_inv[0]
                if inv is not cmd and cmd.op in (Op.FILL, Op.RESPOND, Op.ATTACH):
                    break
                self.undone_inv.pop(0)
                self._inv_completed(inv, ev["t"], ev["effect"] if inv is cmd else None)
        cmd.event = ev
        cmd.t_event, cmd.t_event_valid = ev["t"], ev["since"]
        cmd.done.set()
        if self.on_event:
            self.on_event(ev)

    def _fault(self, item: tuple[int, int, int]) -> None:
        since, t, word = item
        rec = unpack(di.FAULT, word)
        rec["t"], rec["since"] = t + self.offset, since + self.offset
        # A detach forgets its faults when it takes effect; only its completion shows when that was.
        gone = [i for i, r in self.outstanding.items() if self.attached.get(r["pasid"]) == "detaching"]
        if rec["fault"] in gone:
            del self.outstanding[rec["fault"]]
        if rec["fault"] in self.outstanding:
            raise ContractError(f"fault identifier {rec['fault']} reused before its answer: {rec}")
        for other in self.outstanding.values():
            if (other["pasid"], other["va"]) == (rec["pasid"], rec["va"]):
                raise ContractError(f"two faults outstanding for one page: {other} {rec}")
        if rec["va"] & (PAGE - 1):
            raise ContractError(f"fault va is not a page: {rec}")
        if rec["pasid"] not in self.attached:
            raise ContractError(f"fault of a PASID that is not attached: {rec}")
        if self.next_seq is not None and rec["seq"] != self.next_seq:
            raise ContractError(f"fault sequence {rec['seq']}, expected {self.next_seq}")
        self.next_seq = (rec["seq"] + 1) & 0xFFFFFFFF
        kinds = 0
        for acc in self.open:
            parked = acc.txn is None and acc.t_acc >= 0
            if parked and acc.pasid == rec["pasid"] and acc.va & ~(PAGE - 1) == rec["va"]:
                kinds |= acc.kind
        if self.attached[rec["pasid"]] == "on" and (rec["access"] == 0 or rec["access"] & ~kinds):
            raise ContractError(f"fault {rec} asks for access nobody waits for (waiting: {kinds})")
        self.outstanding[rec["fault"]] = rec
        self.faults.append(rec)
        if self.on_fault:
            self.on_fault(rec)

    # ---- every clock edge -----------------------------------------------------------------------

    async def _run(self) -> None:
        edge = RisingEdge(self.dut.clk)
        hs = self.dut.hs
        mem = self.mem
        while True:
            await edge
            v = int(hs.value)
            t = now() + self.offset
            if v & BUSY or mem.rq or mem.bq or mem.aw:
                self._edge(v, t)
            else:
                since = self.since
                since[S_AR] = since[S_AW] = since[M_AR] = since[M_AW] = -1
            self._readies(v)

    def _readies(self, v: int) -> None:
        mem, dut, rng, on = self.mem, self.dut, self.rng, self._on
        want = {} if self.use_axi else {"rr": self.p_rready, "br": self.p_bready}
        want |= {"fr": self.p_fault, "er": self.p_event, "ar": mem.p_ar, "aw": mem.p_aw, "w": mem.p_w}
        names = {
            "rr": "s_axi_rready",
            "br": "s_axi_bready",
            "fr": "fault_ready",
            "er": "event_ready",
            "ar": "m_arready",
            "aw": "m_awready",
            "w": "m_wready",
        }
        for key, p in want.items():
            bit = 1 if p >= 1 else 0 if p <= 0 else int(rng.random() < p)
            if key == "aw" and mem.aw_waits_w:
                bit &= (v >> M_W & 1) | int(len(mem.w) > 0)
            elif key == "w" and mem.w_waits_aw:
                bit &= int(len(mem.aw) > 0)
            if on[key] != bit:
                on[key] = bit
                dut[names[key]].value = bit

    def _stable(self, v: int, bit: int, handle: Any, t: int) -> int:
        """Track since when a valid waits; the payload must not change meanwhile. The payload."""
        pkt = int(handle.value)
        if self.since[bit] < 0:
            self.since[bit] = t
        elif bit in self.held_pkt and self.held_pkt[bit] != pkt:
            raise ContractError(f"channel {bit}: payload changed while valid and not ready")
        self.held_pkt[bit] = pkt
        return pkt

    def _edge(self, v: int, t: int) -> None:
        dut, mem = self.dut, self.mem
        for bit, kind, handle in ((S_AR, R, dut.s_ar_pkt), (S_AW, W, dut.s_aw_pkt)):
            if v >> bit & 1:
                if self.since[bit] < 0:
                    self.since[bit] = t
                if v >> bit & 2:
                    self._accepted(kind, int(handle.value), t, self.since[bit])
                    self.since[bit] = -1
            else:
                self.since[bit] = -1
        for bit, kind, handle in ((M_AR, R, dut.m_ar_pkt), (M_AW, W, dut.m_aw_pkt)):
            if v >> bit & 1:
                pkt = self._stable(v, bit, handle, t)
                if v >> bit & 2:
                    self._issued(kind, pkt, t, self.since[bit])
                    self.since[bit] = -1
                    del self.held_pkt[bit]
            else:
                if bit in self.held_pkt:
                    raise ContractError(f"channel {bit}: valid dropped before ready")
                self.since[bit] = -1
        if v >> M_W & 3 == 3:
            pkt = int(dut.m_w_pkt.value)
            n = self.bus_bytes
            strb = pkt >> self.data_w & ((1 << n) - 1)
            mem.w.append((pkt & ((1 << self.data_w) - 1), strb, pkt >> (self.data_w + n)))
        self._pair_writes(t)
        # Responses move at the slave side before new ones are looked at: a response may pass in one cycle.
        self._drive_r(v, t)
        self._drive_b(v, t)
        if v >> S_R & 3 == 3:
            self._r_beat(int(dut.s_r_pkt.value), t)
        if v >> S_B & 3 == 3:
            self._b_beat(int(dut.s_b_pkt.value), t)

    def _accepted(self, kind: int, pkt: int, t: int, since: int) -> None:
        va = pkt & ((1 << 64) - 1)
        rest = pkt >> 64
        id = rest & ((1 << self.id_w) - 1)
        rest >>= self.id_w
        beats, size = (rest & 0xFF) + 1, rest >> 8 & 7
        attr, user = rest >> 11 & 0x3FFF, rest >> 25
        if self.pending[kind]:
            acc = self.pending[kind].popleft()
            assert (acc.va, acc.id, acc.user) == (va, id, user), f"testbench: {acc} is not what was driven"
        else:
            acc = Access(kind, id, va, beats, size, user, attr)
            self.open.add(acc)
        acc.t_valid, acc.t_acc = since, t
        self.accesses.append(acc)
        self.unissued.setdefault((kind, id), deque()).append(acc)
        self.unanswered.setdefault((kind, id), deque()).append(acc)

    def _issued(self, kind: int, pkt: int, t: int, since: int) -> None:
        pa = pkt & ((1 << 64) - 1)
        rest = pkt >> 64
        id = rest & ((1 << self.id_w) - 1)
        rest >>= self.id_w
        q = self.unissued.get((kind, id), deque())
        head = q[0] if q else None
        match = None
        while q:
            acc = q.popleft()
            want = (acc.beats - 1) | acc.size << 8 | acc.attr << 11 | acc.user << 25
            if want == rest and (acc.va ^ pa) & (PAGE - 1) == 0:
                match = acc
                break
        if match is None:
            raise ContractError(
                f"bus access kind={kind} id={id} pa={pa:x} user={rest >> 25:x} len={rest & 255} at {since} "
                f"belongs to no waiting access (or same-ID order broken); oldest was {head}"
            )
        acc = match
        txn = Txn(kind, acc, pa, since, t)
        acc.txn = txn
        good = []
        for g in self.grants_of(acc.pasid, acc.va):
            if g.pa + acc.va - g.va == pa and g.perm & kind and g.t <= since:
                good.append(g)
        if not good:
            had = self.grants_of(acc.pasid, acc.va)
            raise ContractError(f"{txn} has no translation that allows it; grants {had}")
        live = [g for g in good if g.dead is None]
        if not live:
            raise ContractError(f"{txn} used {good[-1]} after the completion of its invalidation")
        txn.grant = max(live, key=lambda g: g.n)
        txn.grant.last_acc = max(txn.grant.last_acc, acc.t_acc)
        txn.grant.last = txn
        self.inflight.add(txn)
        self.mem.log.append(txn)
        if kind == R:
            txn.t_ready = t + self.rng.randint(*self.mem.lat)
            self.mem.rq.append(txn)
        else:
            self.mem.aw.append(txn)
        self.mem.max_inflight = max(self.mem.max_inflight, self.mem.inflight())
        if self.on_issue:
            self.on_issue(txn)

    def _pair_writes(self, t: int) -> None:
        mem = self.mem
        while mem.w and mem.aw:
            txn = mem.aw[0]
            data, strb, last = mem.w.popleft()
            i = len(txn.wbeats)
            txn.wbeats.append((data, strb))
            if bool(last) != (i == txn.beats - 1):
                raise ContractError(f"{txn}: WLAST wrong at beat {i}")
            if txn.acc.wdata is not None and txn.acc.wdata[i] != (data, strb):
                raise ContractError(f"{txn}: beat {i} carries {data:x}/{strb:x}, sent {txn.acc.wdata[i]}")
            if last:
                mem.aw.popleft()
                mem.finish_write(txn)
                txn.t_ready = t + self.rng.randint(*mem.lat)
                mem.bq.append(txn)

    def _drive_r(self, v: int, t: int) -> None:
        mem, dut = self.mem, self.dut
        if mem.r_on is not None:
            if not v >> M_R & 2:
                return
            txn = mem.r_on
            mem.r_on = None
            txn.sent += 1
            if txn.sent == txn.beats:
                mem.rq.remove(txn)
                txn.t_done = t
                self.inflight.discard(txn)
                mem.cur = None
        elif not mem.rq:
            return
        txn = mem.cur if mem.cur is not None and not mem.interleave else mem.pick(mem.rq, t)
        if txn is None:
            if v >> M_R & 1:
                dut.m_rvalid.value = 0
            return
        mem.cur = txn
        if not txn.data:
            mem.finish_read(txn)
        last = int(txn.sent == txn.beats - 1)
        pkt = txn.data[txn.sent] | txn.id << self.data_w | txn.resp << (self.data_w + self.id_w)
        dut.m_r_pkt.value = pkt | last << (self.data_w + self.id_w + 2)
        dut.m_rvalid.value = 1
        mem.r_on = txn

    def _drive_b(self, v: int, t: int) -> None:
        mem, dut = self.mem, self.dut
        if mem.b_on is not None:
            if not v >> M_B & 2:
                return
            txn = mem.b_on
            mem.b_on = None
            mem.bq.remove(txn)
            txn.t_done = t
            self.inflight.discard(txn)
        elif not mem.bq:
            return
        txn = mem.pick(mem.bq, t)
        if txn is None:
            if v >> M_B & 1:
                dut.m_bvalid.value = 0
            return
        dut.m_b_pkt.value = txn.id | txn.resp << self.id_w
        dut.m_bvalid.value = 1
        mem.b_on = txn

    def _head(self, kind: int, id: int) -> Access:
        q = self.unanswered.get((kind, id))
        if not q:
            raise ContractError(f"response kind={kind} id={id} that no access waits for")
        return q[0]

    def _r_beat(self, pkt: int, t: int) -> None:
        data = pkt & ((1 << self.data_w) - 1)
        rest = pkt >> self.data_w
        id, resp = rest & ((1 << self.id_w) - 1), rest >> self.id_w & 3
        last = rest >> (self.id_w + 2)
        acc = self._head(R, id)
        if not acc.rdata:
            acc.t_resp = t
        acc.rdata.append(data)
        acc.resps.append(resp)
        if bool(last) != (len(acc.rdata) == acc.beats):
            raise ContractError(f"{acc}: RLAST wrong at beat {len(acc.rdata)}")
        if last:
            self._answered(acc, t)

    def _b_beat(self, pkt: int, t: int) -> None:
        acc = self._head(W, pkt & ((1 << self.id_w) - 1))
        acc.t_resp = t
        acc.resps.append(pkt >> self.id_w)
        self._answered(acc, t)

    def _answered(self, acc: Access, t: int) -> None:
        q = self.unanswered[acc.kind, acc.id]
        q.popleft()
        txn = acc.txn
        if len(set(acc.resps)) != 1:
            raise ContractError(f"{acc}: beats disagree: {acc.resps}")
        if txn is None:
            if acc.resp not in (SLVERR, DECERR):
                raise ContractError(f"{acc}: response {acc.resp} but it never reached the bus")
            if any(acc.rdata):
                raise ContractError(f"{acc}: an error response carries data {acc.rdata}")
            un = self.unissued[acc.kind, acc.id]
            if acc in un:
                if un[0] is not acc:
                    raise ContractError(f"{acc} ended in an error before older {un[0]} of its ID left")
                un.popleft()
        else:
            if txn.t_done < 0:
                raise ContractError(f"{acc} was answered before the bus answered")
            if acc.resp != txn.resp:
                raise ContractError(f"{acc}: response {acc.resp}, the bus gave {txn.resp}")
            if acc.kind == R and acc.rdata != txn.data:
                raise ContractError(f"{acc}: data {acc.rdata[0]:x}.., the bus gave {txn.data[0]:x}..")
        acc.t_done = t
        self.open.discard(acc)
        acc.done.set()
        if self.on_done:
            self.on_done(acc)

    # ---- end ------------------------------------------------------------------------------------

    async def end(self, settle: int = 40) -> None:
        """Everything is answered and the device is quiet: nothing extra comes out."""
        await self.finish()
        await self.cycles(settle)
        assert not self.inflight and not self.mem.w, "the bus side is not idle"
        assert not self.completions, f"commands without their completion: {list(self.completions)[:4]}"


class Host:
    """Answers faults at once from a table: maps pages on demand, one fresh frame a page.

    `perm(pasid, va)` and `code(fault)` may be replaced; `delay` is (min, max) cycles before the answer.
    """

    def __init__(self, env: CoreEnv, delay: tuple[int, int] = (0, 0)) -> None:
        self.env = env
        self.delay = delay
        self.frame = 1 << 28
        self.map: dict[tuple[int, int], int] = {}
        self.perm: Callable[[dict[str, int]], int] = lambda fault: RW
        self.code: Callable[[dict[str, int]], int] = lambda fault: Code.SUCCESS
        self.served: list[dict[str, int]] = []
        env.on_fault = self.fault

    def fault(self, rec: dict[str, int]) -> None:
        """Take a fault record."""
        if self.delay[1]:
            cocotb.start_soon(self._later(rec))
        else:
            self.serve(rec)

    async def _later(self, rec: dict[str, int]) -> None:
        await self.env.cycles(self.env.rng.randint(*self.delay))
        self.serve(rec)

    def serve(self, rec: dict[str, int]) -> None:
        """Fill and answer."""
        self.served.append(rec)
        code = self.code(rec)
        if code == Code.SUCCESS:
            key = (rec["pasid"], rec["va"])
            if key not in self.map:
                self.map[key] = self.frame << 12
                self.frame += 1
            self.env.fill(*key, self.map[key], self.perm(rec))
        self.env.respond(rec, code)


async def attached(dut: Any, *pasids: int, **mem: Any) -> CoreEnv:
    """An environment with PASIDs (default 1) attached and nothing mapped."""
    env = await CoreEnv.make(dut, **mem)
    env.attach(*(pasids or (1,)))
    await env.sync()
    return env


async def mapped(dut: Any, pages: int = 16, *pasids: int, **mem: Any) -> CoreEnv:
    """PASIDs (default 1) with the same run of 4-KiB pages from VA, each PASID in frames of its own."""
    env = await CoreEnv.make(dut, **mem)
    for i, pasid in enumerate(pasids or (1,)):
        env.attach(pasid)
        env.fill(pasid, VA, PA + (i << 32), npages=pages)
    await env.sync()
    return env
