"""The Verilated device, one step at a time: the protocol of FuncDevice over a held harness.

Whatever crosses the device's boundary waits until a step lets it go; then the clock runs until the ports
have come to rest. So the order of all that the host can see is a choice of the explorer. A step bears the
name of the FuncDevice step with the same visible effect; what lies between (accept, lookup, fetch) the
device does by itself.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw_model.device_interface import Reg
from sw_model.explore.notes import note
from sw_model.func_device import PAGE_SHIFT, READ, WRITE, Access, Step, Translation
from sw_model.sched import WaitQueue, point
from tb import sim
from tb.explore.compare import Mismatch, Spec
from tb.oracle import Oracle
from tb.sim import Harness, HarnessConfig

#: Cycles without a change at the ports after which a step is over. What comes later belongs to the next step;
#: where there is none, because nothing waits, the device gets more time. So it does while it runs commands:
#: some visit all rows of the caches, and a detach all parked accesses, several times.
QUIET, IDLE = 14, 320
_PASID = (1 << 20) - 1
_ORDER = ("reg", "apply", "complete", "work", "respond", "fault", "done", "irq")
_RINGS = {"CMD": "apply", "WORK": "work", "FAULT": "fault", "EVENT": "complete", "DONE": "done"}
_VECTORS = 4


class RtlDevice:
    """A Transport with the steps of FuncDevice.

    `on_access(phase, access, pfn)` is called as FuncDevice does. With `compare` a Spec follows every step and
    raises Mismatch when the device does what it may not; `tlb` is then what the device may hold at most. The
    simulation ends with the process.
    """

    def __init__(self, memory: NDArray[np.uint8], library: Path | str, *, compare: bool = True) -> None:
        self.memory = memory
        self.bus_base = 0
        self.harness = Harness(
            memory=memory, bus_base=0, library=library, config=HarnessConfig.preset("fast")
        )
        self.harness.hold()
        self.spec = Spec(memory) if compare else None
        self.oracle: Oracle | None = None
        self.on_access: Any = None
        self.inflight: list[Access] = []
        self.used: set[tuple[int, int]] = set()  # PASID and page of every access that went to the bus
        self.regs: dict[int, int] = {}
        self.ticks = 0
        self._flying: dict[int, tuple[Access, int]] = {}  # by number of acceptance: access, frame
        self._seen: set[tuple[int, ...]] = set()
        self._held: list[dict[str, Any]] | None = None
        self._rings: dict[str, tuple[int, int]] = {}
        self._idle = False  # nothing has moved since the last long rest
        self._irq_latched = [False] * _VECTORS
        self._irq_wq = [WaitQueue(f"irq{i}") for i in range(_VECTORS)]
        self._work_wq = WaitQueue("device")

    @property
    def tlb(self) -> list[Translation]:
        """The translations that the device may hold; empty without a Spec."""
        return self.spec.tlb if self.spec is not None else []

    # ---- Transport ---------------------------------------------------------------------------------------

    async def read_reg(self, offset: int) -> int:
        """32-bit register; earlier posted writes land first.

        Raises OSError(ENODEV) when the device is gone (reads as all ones).
        """
        await point("mmio", self)
        token = self.harness.read_start(offset)
        self._held = None
        while (value := self.harness.read_poll(token)) is None:
            self._go(next(h for h in self._list() if h["kind"] == sim.HELD_REG))
        if value == 0xFFFF_FFFF:
            raise OSError(errno.ENODEV, "device is gone")
        return value

    async def write_reg(self, offset: int, value: int) -> None:
        """Posted: lands in a later step, in order."""
        await point("mmio", self)
        self.harness.reg_write(offset, value)
        self._held = None
        self._work_wq.wake_all()

    async def wait_irq(self, vector: int) -> None:
        """Wait for an interrupt on `vector` since the last return."""
        await self._irq_wq[vector].wait(lambda: self._irq_latched[vector])
        self._irq_latched[vector] = False

    def now(self) -> int:
        """Steps since the start."""
        return self.ticks

    # ---- steps -------------------------------------------------------------------------------------------

    def steps(self) -> list[Step]:
        """Everything that can happen now; of accesses and records of one order only the first."""
        if not self._idle and not any(h["ready"] for h in self._list()):
            self._idle = True
            self.harness.settle(IDLE + self.regs.get(Reg.DONE_HOLDOFF, 0))
            self._held = None
            self._observe()
        return [(h["name"], h["what"]) for h in self._list() if h["ready"]]

    def step(self, step: Step, cycles: int | None = None) -> None:
        """Let one of steps() happen, and the device come to rest, or run for `cycles`.

        Raises Mismatch, HarnessError, and what `on_access` raises.
        """
        self.ticks += 1
        self._go(next(h for h in self._list() if h["ready"] and (h["name"], h["what"]) == step), cycles)

    def judge_by(self, oracle: Oracle) -> None:
        """Before any ring is enabled: the oracle is the judge, at the end; it knows what may overlap."""
        self.oracle, self.spec = oracle, None

    def verdict(self) -> None:
        """What the oracle says of everything; nothing may be outstanding. Raises Mismatch."""
        if self.oracle is not None:
            found = self.oracle.finish(self.harness.stats()["outstanding"]).violations
            if found:
                raise Mismatch(f"{found[0].rule}: {found[0].text}")

    def at_rest(self) -> None:
        """Nothing can happen any more. Raises Mismatch when the device still owes something."""
        if self.spec is not None and (left := self.spec.leftover()):
            raise Mismatch(f"the device at rest owes {', '.join(left)}")

    def unknown_pages(self) -> list[tuple[int, int]]:
        """PASID and page of what the device has used and may not hold any more."""
        holds = {(t.pasid, vpn) for t in self.tlb for vpn in range(t.vpn, t.vpn + t.npages)}
        return sorted(self.used - holds)

    def _list(self) -> list[dict[str, Any]]:
        """What waits at the boundary, with the name of its step."""
        if self._held is None:
            rows = self.harness.held()
            names = rows.dtype.names or ()
            self._held = [dict(zip(names, row, strict=True), index=i) for i, row in enumerate(rows.tolist())]
            for h in self._held:
                h["name"], h["what"] = self._label(h)
            self._held.sort(key=lambda h: _ORDER.index(h["name"]))
        return self._held

    def _label(self, h: dict[str, Any]) -> Step:
        kind = h["kind"]
        if kind == sim.HELD_REG:
            return "reg", None
        if kind == sim.HELD_IRQ:
            return "irq", h["id"]
        if kind in (sim.HELD_READ, sim.HELD_WRITE):
            return "respond", self._flying[h["seq"]][0] if h["seq"] in self._flying else None
        return _RINGS[self._ring(h["addr"])], None

    def _ring(self, addr: int) -> str:
        for name, (base, end) in self._rings.items():
            if base <= addr < end:
                return name
        raise AssertionError(f"the ring port is at {addr:#x}, outside all rings")

    def _go(self, h: dict[str, Any], cycles: int | None = None) -> None:
        before = getattr(self, f"_before_{h['name']}", None)
        after = before(h) if before else None
        self.harness.release(h["index"])
        if cycles is None:
            self.harness.settle(self._quiet(h["name"]))
        else:
            self.harness.advance(cycles)
        self._held = None
        self._idle = False
        if after is not None:
            after()
        self._observe()
        if h["name"] == "irq":
            self._irq_latched[h["id"]] = True
            self._irq_wq[h["id"]].wake_all()

    def _quiet(self, name: str) -> int:
        """Cycles without a change after which a step of this name is over."""
        if name == "irq":
            return 4
        commands = self.spec is not None and self.spec.drains
        return IDLE if name == "apply" or commands else QUIET

    # ---- what goes in ------------------------------------------------------------------------------------

    def _before_reg(self, h: dict[str, Any]) -> None:
        if not h["write"]:
            return
        offset, value = h["id"], int(h["data"][0])
        self.regs[offset] = value
        if self.spec is not None:
            self.spec.land(offset, value)
        name, _, what = Reg(offset).name.partition("_")
        if what == "CTRL" and name in _RINGS and value & 1:
            base = self.regs[Reg[f"{name}_BASE_LO"]] | self.regs.get(Reg[f"{name}_BASE_HI"], 0) << 32
            log2 = self.regs[Reg[f"{name}_SIZE"]]
            self._rings[name] = base, base + (32 << log2)
            if self.oracle is not None:
                self.oracle.set_ring(name, base, log2)

    def _record(self, h: dict[str, Any]) -> NDArray[np.uint64]:
        return self.memory[h["addr"] : h["addr"] + 32].view("<u8").copy()

    def _before_apply(self, h: dict[str, Any]) -> None:
        if self.spec is not None:
            self.spec.command(self._record(h))

    def _before_work(self, h: dict[str, Any]) -> None:
        if self.spec is not None:
            self.spec.work(self._record(h))

    def _before_fault(self, h: dict[str, Any]) -> None:
        if self.spec is not None:
            self.spec.written(h["data"])

    def _before_respond(self, h: dict[str, Any]) -> Any:
        access, pfn = self._flying.pop(h["seq"])
        self.inflight.remove(access)
        self._notify("respond", access, pfn)
        if self.spec is None:
            return None
        bytes_ = self.memory[h["addr"] : h["addr"] + access.nbytes]
        want = self.spec.respond(access, bytes_.copy())
        return lambda: self.spec.stored(access, want, bytes_)  # type: ignore[union-attr]

    # ---- what comes out ----------------------------------------------------------------------------------

    def _observe(self) -> None:
        """Hand what has come to the boundary to the check and to the Spec."""
        self.harness.check()
        accesses, records = self.harness.drain_logs()
        if self.oracle is not None:
            self.oracle.feed(accesses, records)
        if self.spec is not None:
            for a in accesses[accesses["issued"] == 0].tolist() if len(accesses) else ():
                row = dict(zip(accesses.dtype.names or (), a, strict=True))
                note(f"access {row['va'] >> PAGE_SHIFT:#x} ends with {('SLVERR', 'DECERR')[row['resp'] - 2]}")
                self.spec.ended(row["user"] & _PASID, row["va"], WRITE if row["write"] else READ, row["resp"])
        seen = set()
        new = []
        for h in self._list():
            key = h["kind"], h["seq"], h["addr"], h["id"]
            seen.add(key)
            if key not in self._seen:
                new.append(h)
        self._seen = seen
        for h in new:
            if h["name"] == "respond":
                self._issued(h)
        if self.spec is not None:
            for name in ("fault", "complete", "done"):
                for h in new:
                    if h["name"] == name:
                        getattr(self.spec, name)(np.array(h["data"], np.uint64))

    def _issued(self, h: dict[str, Any]) -> None:
        kind, pasid = WRITE if h["kind"] == sim.HELD_WRITE else READ, h["user"] & _PASID
        pfn = h["addr"] >> PAGE_SHIFT
        if self.spec is not None:
            access = self.spec.issued(pasid, h["va"], kind, h["addr"], h["id"])
        else:
            access = Access(pasid, h["va"], h["nbytes"], kind, h["user"] >> 20, _nothing, _nothing)
        self.inflight.append(access)
        self.used.add((pasid, access.vpn))
        self._flying[h["seq"]] = access, pfn
        h["what"] = access
        self._notify("issue", access, pfn)

    def _notify(self, phase: str, access: Access, pfn: int) -> None:
        if self.on_access is not None:
            self.on_access(phase, access, pfn)


def _nothing(*args: Any) -> None:
    return None
