"""A host without an operating system that does to the device whatever the interface document lets it.

One thread: at every point either the device takes one of its possible steps, or the host does its next
operation, all by choice: work on two pages of two PASIDs, fills of both sizes and permissions,
invalidations, answers, detaches. What is right is the Spec's to say. At the end every fault is answered,
and every descriptor has to complete.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sw_model.device_interface import CMD, FAULT, WORK, Code, Flag, Op, Reg, Work
from sw_model.explore.config import Config
from sw_model.explore.full import step_name
from sw_model.explore.notes import note
from sw_model.func_device import PAGE_SHIFT
from sw_model.rings import COUNT_MASK, Consumer, Producer, place_ring
from sw_model.sched import Deadlock, Scheduler, point
from tb.oracle import Oracle

_LOG2 = 4
_FRAMES = 1536  # 4-KiB frames from 16 on, 2-MiB frames at 512 and 1024
_FIRST, _HUGE = 16, 512
_VPN = 0x10000
_WRITE, _ACROSS = 1, 2
_CYCLES = (None, 0, 1, 2, 3, 4, 6, 8, 11, 15)  # after a step; None: until the device is at rest
_PASIDS = 1, 17  # of one row of the cache
_OPERATIONS = (
    *("stop", "work", "fill", "invalidate", "answer", "take", "detach"),
    *("work", "fill", "invalidate", "answer", "work"),
)


class ContractWorld:
    """The device with two PASIDs attached, and room for one record in the FAULT ring."""

    #: as that of FullWorld
    make_device: ClassVar[Callable[[NDArray[np.uint8]], Any]]

    def __init__(self, sched: Scheduler, operations: int = 10, close: bool = False) -> None:
        """`close`: steps may follow each other while the device is at work, and the oracle is the judge."""
        self.memory = np.zeros(_FRAMES << PAGE_SHIFT, np.uint8)
        self.dev = self.make_device(self.memory)
        self.choose = sched.choose  # type: ignore[attr-defined]
        self.operations = operations
        self.close = False
        if close:
            self.dev.judge_by(Oracle(now=lambda: self.dev.harness.cycle))
        # One PASID only; 4-KiB fills only; no access is answered before the end.
        self.single = self.small = self.slow = 0
        self.frame = _FIRST
        self.sent = 0
        self.finished = 0
        self.tag = 0
        self.across: set[int] = set()  # PASIDs
        self.attached = set(_PASIDS)
        self.detaching: dict[int, int] = {}  # tag: PASID
        self.answers: list[dict[str, int]] = []  # fault records without an answer
        ready = sched.spawn(self._set_up(), "set-up")
        sched.run_ready()
        assert ready.done
        self.close = close
        sched.spawn(self._host(), "host")

    # ---- set-up ------------------------------------------------------------------------------------------

    async def _ring(self, kind: Callable[..., Any], name: str, frame: int) -> Any:
        await place_ring(self.dev, name, frame << PAGE_SHIFT, _LOG2)
        await self.dev.write_reg(Reg[f"{name}_CTRL"], 1)
        return kind(self.memory, frame << PAGE_SHIFT, _LOG2)

    async def _set_up(self) -> None:
        self.cmd = await self._ring(Producer, "CMD", 1)
        self.work = await self._ring(Producer, "WORK", 2)
        self.fault = await self._ring(Consumer, "FAULT", 3)
        self.event = await self._ring(Consumer, "EVENT", 4)
        self.done = await self._ring(Consumer, "DONE", 5)
        # As if all records but one had not been read.
        await self.dev.write_reg(Reg.FAULT_HEAD, 1 - (1 << _LOG2) & COUNT_MASK)
        await self.dev.write_reg(Reg.CTRL, 1)
        await self.dev.write_reg(Reg.ENGINE_CTRL, 1)
        for pasid in sorted(self.attached):
            await self._command(op=Op.ATTACH, pasid=pasid)
        self._rest()

    # ---- the host ----------------------------------------------------------------------------------------

    async def _host(self) -> None:
        self.single, self.small, self.slow = self.choose(2), self.choose(2), self.choose(2)
        for _ in range(self.operations):
            while (i := self.choose(1 + len(steps := self._steps()))) < len(steps):
                self._step(steps[i])
                await point("device", self.dev)
            name = _OPERATIONS[self.choose(len(_OPERATIONS))]
            if name == "stop":
                break
            await getattr(self, f"_do_{name}")()
        await self._finish()

    def _steps(self) -> list[Any]:
        return [s for s in self.dev.steps() if not (self.slow and s[0] == "respond")]

    def _step(self, step: Any) -> None:
        note(f"device: {step_name(step)}")
        if self.close:
            self.dev.step(step, _CYCLES[self.choose(len(_CYCLES))])
        else:
            self.dev.step(step)

    def _rest(self) -> None:
        while steps := self.dev.steps():
            self._step(steps[0])

    async def _command(self, **fields: Any) -> None:
        row = CMD.pack(**{k: int(v) for k, v in fields.items()})
        text = ", ".join(f"{k} {v:#x}" for k, v in fields.items() if k not in ("op", "tag", "flags"))
        note(f"{Op(fields['op']).name} {text}")
        if not self.cmd.free:
            self.cmd.head = await self.dev.read_reg(Reg.CMD_HEAD)
        self.cmd.post(row)
        await self.dev.write_reg(Reg.CMD_TAIL, self.cmd.tail)

    async def _complete(self, **fields: Any) -> int:
        self.tag += 1
        await self._command(flags=Flag.COMPLETE, tag=self.tag, **fields)
        return self.tag

    def _pasid(self) -> int:
        return _PASIDS[0 if self.single else self.choose(2)]

    async def _do_work(self) -> None:
        """A descriptor: 8 bytes of a page, or once 16 across both pages; no two at the same place."""
        pasid, what = self._pasid(), self.choose(3)
        self.sent += 1
        if what == _ACROSS and pasid not in self.across:
            self.across.add(pasid)
            fields = {"op": Work.READ, "va": ((_VPN + 1) << PAGE_SHIFT) - 8, "len": 16}
        else:
            va = ((_VPN + self.choose(2)) << PAGE_SHIFT) + 64 * self.sent
            fields = {
                "op": Work.WRITE if what == _WRITE else Work.READ,
                "va": va,
                "len": 8,
                "data": 0x55 * self.sent,
            }
        note(f"{Work(fields['op']).name} of pasid {pasid} at {fields['va']:#x}, {fields['len']} bytes")
        await self._post_work(pasid=pasid, flags=Flag.COMPLETE, **fields)

    async def _post_work(self, **fields: Any) -> None:
        self.work.post(WORK.pack(**{k: int(v) for k, v in fields.items()}))
        await self.dev.write_reg(Reg.WORK_TAIL, self.work.tail)

    async def _do_fill(self) -> None:
        """A translation to a frame that was never used, or of 2 MiB."""
        pasid, size, perm = self._pasid(), 0 if self.small else self.choose(2), 3 - 2 * self.choose(2)
        if size:
            pfn, vpn = _HUGE * (1 + self.choose(2)), _VPN
        else:
            vpn, pfn = _VPN + self.choose(2), self.frame
            self.frame += 1
        await self._fill(pasid, vpn, pfn, size, perm)

    async def _fill(self, pasid: int, vpn: int, pfn: int, size: int, perm: int) -> None:
        if pasid in self.attached:
            va, pa = vpn << PAGE_SHIFT, pfn << PAGE_SHIFT
            await self._command(op=Op.FILL, pasid=pasid, va=va, pa=pa, npages=1, size=size, perm=perm)

    async def _do_invalidate(self) -> None:
        """A page, or everything of the PASID."""
        pasid, what = self._pasid(), self.choose(3)
        if what == 2:
            await self._complete(op=Op.INVALIDATE_PASID, pasid=pasid)
        else:
            await self._complete(op=Op.INVALIDATE, pasid=pasid, va=(_VPN + what) << PAGE_SHIFT, npages=1)

    def _harvest(self) -> None:
        self.answers += [FAULT.unpack(row) for row in self.fault.harvest()]
        self.finished += len(self.done.harvest())

    async def _do_answer(self, code: int | None = None) -> None:
        """The oldest fault record gets its answer; it stays in the ring."""
        self._harvest()
        if self.answers:
            rec = self.answers.pop(0)
            code = (Code.SUCCESS, Code.INVALID)[self.choose(2)] if code is None else code
            await self._command(
                op=Op.RESPOND, pasid=rec["pasid"], code=code, seq=rec["seq"], fault=rec["fault"]
            )

    async def _do_take(self) -> None:
        """All fault records leave the ring."""
        self._harvest()
        await self.dev.write_reg(Reg.FAULT_HEAD, self.fault.head)

    async def _do_detach(self) -> None:
        """Detaches, or once that is complete attaches again."""
        pasid = self._pasid()
        if pasid in self.attached:
            self.attached.remove(pasid)
            self.detaching[await self._complete(op=Op.DETACH, pasid=pasid)] = pasid
        elif self._detached(pasid):
            self.attached.add(pasid)
            await self._command(op=Op.ATTACH, pasid=pasid)

    def _detached(self, pasid: int) -> bool:
        for row in self.event.harvest():
            self.detaching.pop(int(row[0]) >> 16 & 0xFFFF, None)
        return pasid not in self.detaching.values()

    async def _finish(self) -> None:
        """Answer what is left until all work is done, then look for translations that are too many.

        Raises Deadlock, Mismatch.
        """
        close, self.close = self.close, False
        await self._drain()
        self.dev.at_rest()
        for pasid, vpn in self.dev.unknown_pages():
            self.sent += 1
            await self._post_work(op=Work.READ, pasid=pasid, va=vpn << PAGE_SHIFT, len=8, flags=Flag.COMPLETE)
        if close:
            await self._drain()
            self.dev.verdict()
        else:
            self._rest()

    async def _drain(self) -> None:
        for _ in range(4 * self.operations):
            self._rest()
            await self._do_take()
            if self.finished == self.sent and not self.answers:
                break
            while self.answers:
                rec = self.answers[0]
                await self._fill(rec["pasid"], rec["va"] >> PAGE_SHIFT, self.frame, 0, 3)
                self.frame += 1
                await self._do_answer(Code.SUCCESS)
                self._rest()
        self._rest()
        if self.finished < self.sent:
            raise Deadlock(f"{self.sent - self.finished} of {self.sent} descriptors never complete")


def build(sched: Scheduler) -> Callable[[], None]:
    """See the module."""
    ContractWorld(sched)
    return lambda: None


def build_close(sched: Scheduler) -> Callable[[], None]:
    """The same with steps in the cycles in which the device is at work."""
    ContractWorld(sched, close=True)
    return lambda: None


CONTRACT = Config(
    "contract",
    "A host that issues any commands and work; the functional device is the judge.",
    "device",
    build,
    exhaustive=False,
)

CONTRACT_CLOSE = Config(
    "contract_close",
    "The same, with steps in any cycle; the oracle is the judge.",
    "device",
    build_close,
    exhaustive=False,
)
CONFIGS = {c.name: c for c in (CONTRACT, CONTRACT_CLOSE)}
