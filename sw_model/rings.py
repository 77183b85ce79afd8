"""The host's side of the device's rings: batches of 32-byte records in shared memory.

Positions are free-running counts of 17 bits; the slot is the count modulo the ring size.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sw_model.device_interface import RECORD_BYTES, Reg
from sw_model.records import WORDS
from sw_model.sched import sleep
from sw_model.transport import Transport

COUNT_MASK = (1 << 17) - 1
PAGE_SIZE = 4096
_PHASE_SHIFT = np.uint64(63)


def ring_pages(log2: int) -> int:
    """4-KiB pages that a ring of 2**log2 records needs."""
    return max(1, (RECORD_BYTES << log2) // PAGE_SIZE)


class _Ring:
    def __init__(self, memory: NDArray[np.uint8], offset: int, log2: int) -> None:
        assert 4 <= log2 <= 16 and offset % PAGE_SIZE == 0
        self.log2 = log2
        self.size = 1 << log2
        self.offset = offset
        raw = memory[offset : offset + (RECORD_BYTES << log2)]
        raw[:] = 0
        self.rows: NDArray[np.uint64] = raw.view("<u8").reshape(self.size, WORDS)


class Producer(_Ring):
    """A ring to the device. `tail` is what the doorbell must be written with; `head` is the last one read."""

    def __init__(self, memory: NDArray[np.uint8], offset: int, log2: int) -> None:
        super().__init__(memory, offset, log2)
        self.tail = 0
        self.head = 0

    @property
    def free(self) -> int:
        """Records that fit before `head` has to be read again."""
        return self.size - ((self.tail - self.head) & COUNT_MASK)

    def post(self, rows: NDArray[np.uint64]) -> int:
        """Store rows (n, 4), n <= free, and advance `tail`; the count of the first one. No doorbell."""
        n = len(rows)
        if n > self.free:
            raise OverflowError(f"{n} records into a ring with {self.free} free")
        first = self.tail
        slot = first & (self.size - 1)
        split = min(n, self.size - slot)
        self.rows[slot : slot + split] = rows[:split]
        if split < n:
            self.rows[: n - split] = rows[split:]
        self.tail = (first + n) & COUNT_MASK
        return first


class Consumer(_Ring):
    """A ring from the device. `head` is what the HEAD register must be written with after a harvest."""

    def __init__(self, memory: NDArray[np.uint8], offset: int, log2: int) -> None:
        super().__init__(memory, offset, log2)
        self.head = 0

    def harvest(self, limit: int = 1 << 16) -> NDArray[np.uint64]:
        """A copy of the new records (n, 4), at most `limit`, in order; PHASE tells which are new."""
        slot = self.head & (self.size - 1)
        n = self._fresh(slot, min(limit, self.size - slot), self.head)
        if not n:
            return self.rows[:0].copy()
        out = self.rows[slot : slot + n].copy()
        self.head = (self.head + n) & COUNT_MASK
        if slot + n == self.size and n < limit:
            more = self._fresh(0, min(limit - n, slot), self.head)
            if more:
                out = np.concatenate((out, self.rows[:more]))
                self.head = (self.head + more) & COUNT_MASK
        return out

    def _fresh(self, slot: int, n: int, count: int) -> int:
        if n <= 0:
            return 0
        want = 1 - ((count >> self.log2) & 1)
        phase = self.rows[slot : slot + n, 3] >> _PHASE_SHIFT
        stale = phase != want
        at = int(stale.argmax())
        return at if stale[at] else n


async def place_ring(transport: Transport, name: str, bus: int, log2: int) -> None:
    """Tell the device where a disabled ring of 2**log2 records is."""
    await transport.write_reg(Reg[f"{name}_BASE_LO"], bus & 0xFFFFFFFF)
    await transport.write_reg(Reg[f"{name}_BASE_HI"], bus >> 32)
    await transport.write_reg(Reg[f"{name}_SIZE"], log2)


R = TypeVar("R", Producer, Consumer)


class RingSet:
    """The rings of one driver: their frames, from `phys`, and their registers.

    `layout` maps a ring's name to its bus address and log2 of its size.
    """

    def __init__(self, transport: Transport, phys: Any) -> None:
        self.transport = transport
        self.phys = phys
        self.layout: dict[str, tuple[int, int]] = {}
        self._frames: list[tuple[int, int]] = []

    async def add(self, kind: type[R], name: str, log2: int) -> R:
        """Allocate and program a ring of 2**log2 records, still disabled.

        Raises OSError(ENOMEM) without contiguous frames.
        """
        t = self.transport
        nr = ring_pages(log2)
        pfn = self.phys.alloc_contig(nr)
        self._frames.append((pfn, nr))
        offset = pfn * PAGE_SIZE
        bus = t.bus_base + offset
        self.layout[name] = (bus, log2)
        await t.write_reg(Reg[f"{name}_CTRL"], 0)
        await place_ring(t, name, bus, log2)
        return kind(t.memory, offset, log2)

    async def enable(self) -> None:
        """Enable every ring."""
        for name in self.layout:
            await self.transport.write_reg(Reg[f"{name}_CTRL"], 1)

    async def remove(self) -> None:
        """Disable every ring, wait until the device no longer touches it, free its frames."""
        for name in self.layout:
            await self.transport.write_reg(Reg[f"{name}_CTRL"], 0)
        for name in self.layout:
            while await self.transport.read_reg(Reg[f"{name}_CTRL"]) & 1:
                await sleep(100)
        for pfn, nr in self._frames:
            self.phys.free_contig(pfn, nr)
        self._frames.clear()
        self.layout.clear()
