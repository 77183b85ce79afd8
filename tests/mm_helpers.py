"""What the tests of sw_model's memory management share: a small machine and a notifier that checks order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from sw_model.locking import is_freed
from sw_model.mm import MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE, MmStruct, PhysMem
from sw_model.mmu_notifier import (
    MmuNotifier,
    MmuNotifierOps,
    MmuNotifierRange,
    mmu_notifier_register,
    mmu_notifier_unregister,
)
from sw_model.sched import RandomStrategy, Scheduler

PAGE = 4096
HUGE = 2 << 20
RW = PROT_READ | PROT_WRITE
ANON = MAP_PRIVATE | MAP_ANONYMOUS


class Recorder(MmuNotifierOps):
    """A notifier and observer that fails when an entry is lost or reduced outside an invalidation.

    `events`: (event name, start, end) in the order of the starts. It watches the mms given to `watch`.
    """

    def __init__(self, phys: PhysMem) -> None:
        self.events: list[tuple[str, int, int]] = []
        self.log: list[tuple] = []
        self.active: dict[int, list[MmuNotifierRange]] = {}
        self.subs: dict[int, tuple[MmStruct, MmuNotifier]] = {}
        self.mapped: dict[int, dict[int, tuple[int, bool]]] = {}
        self.errors: list[str] = []
        self.released: list[int] = []
        self.device: dict[int, set[int]] = {}
        phys.add_observer(self)

    async def watch(self, mm: MmStruct) -> None:
        """Register with `mm`."""
        self.active[mm.mm_id] = []
        sub = MmuNotifier(self)
        self.subs[mm.mm_id] = (mm, sub)
        await mmu_notifier_register(sub, mm)

    async def unwatch(self, mm: MmStruct) -> None:
        """Unregister; drops the notifier's pin of mm_count."""
        mm_id = mm.mm_id
        _, sub = self.subs.pop(mm_id)
        await mmu_notifier_unregister(sub, mm)
        # After release no end is delivered: the notifier is unlinked.
        assert mm_id in self.released or not self.active[mm_id], "an invalidation has no end"

    async def release(self, sub: MmuNotifier, mm: MmStruct) -> None:
        self.released.append(mm.mm_id)
        self.log.append(("release", mm.mm_id))

    async def invalidate_range_start(self, sub: MmuNotifier, r: MmuNotifierRange) -> int:
        self.events.append((r.event.name, r.start, r.end))
        self.log.append(("start", r.event.name, r.start, r.end))
        self.active[r.mm.mm_id].append(r)
        return 0

    async def invalidate_range_end(self, sub: MmuNotifier, r: MmuNotifierRange) -> None:
        self.log.append(("end", r.event.name, r.start, r.end))
        self.active[r.mm.mm_id].remove(r)

    def _covered(self, mm: MmStruct, vaddr: int, nr: int, what: str) -> None:
        if mm.mm_id not in self.subs or mm.mm_id in self.released:
            return
        end = vaddr + nr * PAGE
        if not any(r.start <= vaddr and end <= r.end for r in self.active[mm.mm_id]):
            self.errors.append(f"{what} at {vaddr:#x} x{nr} outside an invalidation")

    def on_pte_set(self, mm: MmStruct, vaddr: int, pfn: int, nr: int, writable: bool) -> None:
        m = self.mapped.setdefault(mm.mm_id, {})
        for k in range(nr):
            old = m.get(vaddr + k * PAGE)
            if old is not None and (old[0] != pfn + k or (old[1] and not writable)):
                self._covered(mm, vaddr + k * PAGE, 1, "entry changed")
            m[vaddr + k * PAGE] = (pfn + k, writable)
        self.log.append(("set", vaddr, pfn, nr, writable))

    def on_pte_clear(self, mm: MmStruct, vaddr: int, nr: int) -> None:
        self._covered(mm, vaddr, nr, "entry cleared")
        m = self.mapped.setdefault(mm.mm_id, {})
        for k in range(nr):
            m.pop(vaddr + k * PAGE, None)
        self.log.append(("clear", vaddr, nr))

    def on_frame_free(self, pfn: int, nr: int) -> None:
        for m in self.mapped.values():
            if nr == 1 and any(p == pfn for p, _ in m.values()):
                self.errors.append(f"pfn {pfn} freed while mapped")
        self.log.append(("free", pfn, nr))


class Machine:
    """Memory of `mib` MiB and a scheduler; `run` drives one thread, with random switches when seeded."""

    def __init__(self, mib: int = 16, seed: int | None = None, **kw: Any) -> None:
        self.phys = PhysMem(np.zeros(mib << 20, np.uint8), seed=seed or 0, **kw)
        self.sched = Scheduler(None if seed is None else RandomStrategy(seed, switch=0.5))
        self.rec = Recorder(self.phys)

    def run(self, main: Callable[[], Awaitable]) -> Any:
        """Run to the end, then check that nothing leaked and nothing was out of order."""
        out = self.sched.run_until_complete(main())
        assert self.rec.errors == []
        return out

    async def finish(self, *mms: MmStruct) -> None:
        """Exit every process and check the balance of everything."""
        for mm in mms:
            if mm.mm_id in self.rec.subs:
                assert not self.rec.active[mm.mm_id], "an invalidation has no end"
                await mm.exit()
                assert mm.mm_count == 1, "only the notifier's pin is left"
                await self.rec.unwatch(mm)
            else:
                await mm.exit()
            assert is_freed(mm)
        assert self.phys.check_balance() == []
        assert self.phys.nr_used() == 0, "frames leaked"
        assert self.phys.swap.nr_used == 0, "swap slots leaked"


async def filled(mm: MmStruct, nbytes: int, seed: int = 1, addr: int = 0) -> tuple[int, bytearray]:
    """A private anonymous mapping with random contents, and a copy of them."""
    a = await mm.mmap(addr, nbytes, RW, ANON | (0x10 if addr else 0))
    ref = bytearray(np.random.default_rng(seed).integers(0, 256, nbytes, np.uint8).tobytes())
    await mm.store(a, bytes(ref))
    return a, ref
