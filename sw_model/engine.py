"""Driver of the access engine: batches of work descriptors in, completions out."""

from __future__ import annotations

import errno
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw_model import device_interface as di
from sw_model.device_interface import DONE, WORK, Reg
from sw_model.locking import Mutex
from sw_model.records import WORDS
from sw_model.rings import Consumer, Producer, RingSet
from sw_model.sched import Scheduler, WaitQueue, sleep
from sw_model.transport import Transport

_INDEX_MASK = 0xFFFFFFFF
_COMPLETE = np.uint64(di.Flag.COMPLETE << WORK.fields["FLAGS"].lsb)


class Handle:
    """A batch on its way. `done_rows` (n, 4) is complete when `left` is 0."""

    def __init__(self, first: int, n: int) -> None:
        self.first = first
        self.n = n
        self.left = n
        self.done_rows: NDArray[np.uint64] = np.zeros((n, WORDS), "<u8")
        self.wq = WaitQueue("engine batch")


class Engine:
    """The access engine of one device. `phys` gives contiguous frames for the rings.

    `holdoff` is the least number of cycles between two DONE interrupts.
    """

    def __init__(
        self,
        transport: Transport,
        phys: Any,
        sched: Scheduler,
        *,
        log2_work: int = 8,
        log2_done: int = 8,
        holdoff: int = 256,
    ) -> None:
        self.transport = transport
        self.sched = sched
        self.holdoff = holdoff
        self.log2 = {"WORK": log2_work, "DONE": log2_done}
        self._rings = RingSet(transport, phys)
        self.stats = {"descriptors": 0, "done": 0, "failed": 0, "ring_full_waits": 0, "doorbells": 0}
        self._lock = Mutex("engine")
        self._posted = 0
        self._completed = 0
        self._active: list[Handle] = []
        self._wq = WaitQueue("engine progress")
        self._stopped = False

    @property
    def rings(self) -> dict[str, tuple[int, int]]:
        """Bus address and log2 of the size, by name."""
        return self._rings.layout

    @property
    def outstanding(self) -> int:
        """Descriptors posted and not completed."""
        return self._posted - self._completed

    async def probe(self) -> None:
        """Check the engine, set up its rings, start the thread that takes completions.

        Raises OSError(ENODEV) for a foreign device, OSError(ENOMEM) without memory for rings.
        """
        t = self.transport
        if await t.read_reg(Reg.ENGINE_ID) != di.ENGINE_MAGIC:
            raise OSError(errno.ENODEV, "not an access engine")
        self.work = await self._rings.add(Producer, "WORK", self.log2["WORK"])
        self.done = await self._rings.add(Consumer, "DONE", self.log2["DONE"])
        await self._rings.enable()
        await t.write_reg(Reg.DONE_HOLDOFF, self.holdoff)
        self.sched.spawn(self._done_thread(), "engine-done", daemon=True)
        mask = await t.read_reg(Reg.IRQ_ENABLE)
        await t.write_reg(Reg.IRQ_ENABLE, mask | 1 << di.IRQ_DONE)
        await t.write_reg(Reg.ENGINE_CTRL, 1)

    async def submit(self, rows: NDArray[np.uint64]) -> Handle:
        """Post descriptors (n, 4) of WORK, each with a completion; returns when all are posted.

        Descriptors that touch the same bytes keep their order; others may run in any. Waits while the ring
        is full.
        """
        t, ring = self.transport, self.work
        rows = np.array(rows, dtype="<u8").reshape(-1, WORDS)
        rows[:, 0] |= _COMPLETE
        async with self._lock:
            handle = Handle(self._posted, len(rows))
            if handle.n:
                self._active.append(handle)
            while len(rows):
                if ring.free < len(rows):
                    ring.head = await t.read_reg(Reg.WORK_HEAD)
                n = min(ring.free, len(rows))
                if n:
                    ring.post(rows[:n])
                    self._posted += n
                    rows = rows[n:]
                    self.stats["doorbells"] += 1
                    await t.write_reg(Reg.WORK_TAIL, ring.tail)
                if len(rows):
                    self.stats["ring_full_waits"] += 1
                    await self._progress(self._completed)
        self.stats["descriptors"] += handle.n
        return handle

    async def _progress(self, seen: int) -> None:
        await self._wq.wait(lambda: self._completed != seen or not self.outstanding)

    async def wait(self, handle: Handle) -> NDArray[np.uint64]:
        """The completions (n, 4) of DONE of a batch, in the order of its descriptors."""
        await handle.wq.wait(lambda: not handle.left)
        return handle.done_rows

    async def run(self, rows: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Submit and wait: completions (n, 4) in the order of `rows`."""
        return await self.wait(await self.submit(rows))

    async def stop(self) -> None:
        """Wait until nothing is outstanding, disable the engine and free its rings."""
        t = self.transport
        await self._wq.wait(lambda: not self.outstanding)
        while not await t.read_reg(Reg.ENGINE_STATUS) & 1:
            await sleep(1000)
        await t.write_reg(Reg.ENGINE_CTRL, 0)
        mask = await t.read_reg(Reg.IRQ_ENABLE)
        await t.write_reg(Reg.IRQ_ENABLE, mask & ~(1 << di.IRQ_DONE))
        self._stopped = True
        await self._rings.remove()

    async def _done_thread(self) -> None:
        """Interrupt thread: sorts completions into their batches."""
        while True:
            await self.transport.wait_irq(di.IRQ_DONE)
            while not self._stopped:
                rows = self.done.harvest()
                if not len(rows):
                    break
                await self.transport.write_reg(Reg.DONE_HEAD, self.done.head)
                self._take(rows)

    def _take(self, rows: NDArray[np.uint64]) -> None:
        index = DONE.get(rows, "index").astype(np.int64)
        self._completed += len(rows)
        self.stats["done"] += len(rows)
        self.stats["failed"] += int(np.count_nonzero(DONE.get(rows, "status")))
        found = 0
        for h in self._active:
            at = (index - h.first) & _INDEX_MASK
            mine = at < h.n
            n = int(np.count_nonzero(mine))
            if n:
                h.done_rows[at[mine]] = rows[mine]
                h.left -= n
                found += n
                if not h.left:
                    h.wq.wake_all()
                if found == len(rows):
                    break
        if found != len(rows):
            raise OSError(errno.EIO, f"{len(rows) - found} completions of unknown descriptors")
        self._active = [h for h in self._active if h.left]
        self._wq.wake_all()
