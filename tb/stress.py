"""A stress of the device without a kernel: a table of pages, random invalidations, and the oracle.

Several PASIDs map the same virtual addresses to different frames. Work descriptors hit them while
pages are invalidated, write-protected, moved, and PASIDs detached. The host here is right: what the
oracle reports is the device's fault.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw_model.device_interface import (
    CMD,
    DONE,
    EVENT,
    FAULT,
    IRQ_DONE,
    IRQ_EVENT,
    IRQ_FAULT,
    WORK,
    Code,
    Event,
    Flag,
    Op,
    Reg,
    Size,
    Work,
)
from sw_model.rings import COUNT_MASK, Consumer, Producer, place_ring, ring_pages
from sw_model.sched import Scheduler, WaitQueue, sleep
from sw_model.transport import Transport
from tb.oracle import INF, Oracle, Verdict
from tb.world import SimHang, World

PAGE = 4096
HUGE = 512
BASE_VPN = 0x1000_0000 >> 12
HUGE_VPN = 0x4000_0000 >> 12
READ, WRITE = 1, 2


@dataclass
class Plan:
    """How much of what. Times are in nanoseconds of simulated time, chances between 0 and 1."""

    pasids: tuple[int, ...] = (1, 2, 0x80001)
    pages: int = 40
    huge_pages: int = 2
    descriptors: int = 2000
    outstanding: int = 48
    mutators: int = 2
    max_len: int = 256
    answer_ns: int = 3000
    pause_ns: int = 2000
    log2: dict[str, int] = field(
        default_factory=lambda: {"CMD": 9, "FAULT": 4, "EVENT": 9, "WORK": 7, "DONE": 7}
    )
    cross: float = 0.05
    detach: float = 0.03
    invalid: float = 0.02
    pasid_wide: float = 0.06
    fill_first: float = 0.3
    protect: float = 0.2


@dataclass
class Mapping:
    """What a table entry maps: one page of 4 KiB or 2 MiB."""

    pfn: int
    perm: int
    huge: bool = False


class StressHost:
    """The host's side: rings, a page table, a fault worker, mutators and traffic.

    `spawn` makes a thread. Half of `memory` is for 2-MiB pages: 48 MiB do for three PASIDs.
    """

    def __init__(self, transport: Transport, sched: Scheduler, oracle: Oracle, plan: Plan, seed: int) -> None:
        self.t = transport
        self.sched = sched
        self.oracle = oracle
        self.plan = plan
        self.rng = random.Random(seed)
        memory, base = transport.memory, transport.bus_base
        page = 1
        self.rings: dict[str, Producer | Consumer] = {}
        for name, log2 in plan.log2.items():
            kind = Producer if name in ("CMD", "WORK") else Consumer
            self.rings[name] = kind(memory, page * PAGE, log2)
            oracle.set_ring(name, base + page * PAGE, log2)
            page += ring_pages(log2)
        self.cmd: Producer = self.rings["CMD"]  # type: ignore[assignment]
        self.work: Producer = self.rings["WORK"]  # type: ignore[assignment]
        blocks = len(memory) // PAGE // HUGE
        self.free_pages = list(range(64, HUGE * (blocks // 2)))
        self.free_huge = [HUGE * b for b in range(blocks // 2, blocks)]
        oracle.frame_free(64, HUGE * blocks - 64)
        self.table: dict[tuple[int, int], Mapping] = {}
        self.busy: set[tuple[int, int]] = set()
        self.closing: set[int] = set()
        self.attached: set[int] = set()
        self.retry: list[NDArray[np.uint64]] = []
        self.tag = 0
        self.waiting: dict[int, WaitQueue] = {}
        self.events: dict[int, dict[str, int]] = {}
        self.done_wq = WaitQueue("done")
        self.sent = self.finished = 0
        self.stopping = False
        self.left = plan.mutators
        self.complete = False
        self._dirty: set[int] = set()
        self.status: dict[int, int] = {}

    # ---- registers and rings

    async def ring_doorbell(self, reg: int, tail: Callable[[], int]) -> None:
        """Write a TAIL; two threads never pass each other with an older value."""
        again = reg in self._dirty
        self._dirty.add(reg)
        if again:
            return
        while reg in self._dirty:
            self._dirty.discard(reg)
            await self.t.write_reg(reg, tail())

    async def post(self, *rows: NDArray[np.uint64]) -> None:
        """Commands that must stand together; the caller's table is what it was when they were built."""
        batch = np.concatenate(rows)
        self.cmd.post(batch)
        await self.ring_doorbell(Reg.CMD_TAIL, lambda: self.cmd.tail)

    async def room(self, n: int = 160) -> None:
        """Wait until `n` commands fit."""
        while self.cmd.free < n:
            self.cmd.head = await self.t.read_reg(Reg.CMD_HEAD)
            if self.cmd.free < n:
                await sleep(400)

    def tagged(self, op: int, **values: int) -> tuple[int, NDArray[np.uint64]]:
        """A command that asks for a completion, and its tag."""
        self.tag = (self.tag + 1) & 0xFFFF
        self.waiting[self.tag] = WaitQueue(f"tag {self.tag}")
        return self.tag, CMD.pack(op=op, flags=Flag.COMPLETE, tag=self.tag, **values)

    async def completed(self, tag: int) -> None:
        """Wait for the completion of a tag."""
        await self.waiting[tag].wait(lambda: tag in self.events)
        del self.waiting[tag], self.events[tag]

    async def start(self) -> None:
        """Set the rings and the engine up, attach every PASID."""
        for name, ring in self.rings.items():
            await place_ring(self.t, name, self.t.bus_base + ring.offset, ring.log2)
            await self.t.write_reg(Reg[f"{name}_CTRL"], 1)
        await self.t.write_reg(Reg.IRQ_ENABLE, 0xF)
        await self.t.write_reg(Reg.CTRL, 1)
        await self.t.write_reg(Reg.ENGINE_CTRL, 1)
        for pasid in self.plan.pasids:
            await self.attach(pasid)

    async def attach(self, pasid: int) -> None:
        """ATTACH."""
        await self.room()
        self.attached.add(pasid)
        await self.post(CMD.pack(op=Op.ATTACH, pasid=pasid))

    # ---- the table

    def map(self, pasid: int, vpn: int, mapping: Mapping) -> None:
        """A mapping appears, or gains permission."""
        old = self.table.get((pasid, vpn))
        n = HUGE if mapping.huge else 1
        if old is None:
            self.oracle.frame_alloc(mapping.pfn, n)
        self.oracle.pte_set(pasid, vpn, mapping.pfn, bool(mapping.perm & WRITE), n)
        self.table[pasid, vpn] = mapping

    def unmap(self, pasid: int, vpn: int) -> None:
        """A mapping goes away, and its frame with it; the device has completed its invalidation."""
        m = self.table.pop((pasid, vpn))
        n = HUGE if m.huge else 1
        self.oracle.pte_clear(pasid, vpn, n)
        self.oracle.frame_free(m.pfn, n)
        first = m.pfn * PAGE
        self.t.memory[first : first + n * PAGE] = 0x6B
        (self.free_huge if m.huge else self.free_pages).append(m.pfn)

    def fill(self, pasid: int, vpn: int) -> NDArray[np.uint64]:
        """The FILL of a mapping."""
        m = self.table[pasid, vpn]
        return CMD.pack(
            op=Op.FILL,
            pasid=pasid,
            va=vpn * PAGE,
            pa=self.t.bus_base + m.pfn * PAGE,
            npages=1,
            size=Size.P2M if m.huge else Size.P4K,
            perm=m.perm,
        )

    # ---- threads

    async def fault_thread(self) -> None:
        """Answers faults, in batches, out of order, late."""
        ring: Consumer = self.rings["FAULT"]  # type: ignore[assignment]
        while True:
            await self.t.wait_irq(IRQ_FAULT)
            while True:
                rows = ring.harvest(self.rng.randint(1, 16))
                if not len(rows):
                    break
                await sleep(self.rng.randint(1, self.plan.answer_ns))
                await self.t.write_reg(Reg.FAULT_HEAD, ring.head)
                batch = list(rows)
                self.rng.shuffle(batch)
                await self.room()
                for row in batch:
                    await self.serve(row)

    async def serve(self, row: NDArray[np.uint64]) -> None:
        """One fault: map, upgrade, refuse, or leave it until the invalidation is over."""
        f = FAULT.unpack(row)
        pasid, vpn, need = f["pasid"], f["va"] // PAGE, f["access"]
        if vpn >= HUGE_VPN:
            vpn -= (vpn - HUGE_VPN) % HUGE
        answer = {"op": Op.RESPOND, "fault": f["fault"], "seq": f["seq"], "code": Code.SUCCESS}
        if pasid in self.closing or pasid not in self.attached:
            return
        if (pasid, vpn) in self.busy:
            if self.rng.random() < 0.7:
                self.retry.append(row)
            else:
                await self.post(CMD.pack(**answer))
            return
        if self.rng.random() < self.plan.invalid:
            answer["code"] = self.rng.choice([Code.INVALID, Code.FAILURE])
            await self.post(CMD.pack(**answer))
            return
        m = self.table.get((pasid, vpn))
        if m is None:
            perm = READ | WRITE if need & WRITE or self.rng.random() < 0.4 else READ
            huge = vpn >= HUGE_VPN
            pool = self.free_huge if huge else self.free_pages
            # The newest free frames first: a frame changes hands as soon as it can.
            m = Mapping(pool.pop(-self.rng.randint(1, min(4, len(pool)))), perm, huge)
            self.map(pasid, vpn, m)
        elif need & ~m.perm:
            m = Mapping(m.pfn, READ | WRITE, m.huge)
            self.map(pasid, vpn, m)
        await self.post(self.fill(pasid, vpn), CMD.pack(**answer))

    async def event_thread(self) -> None:
        """Hands completions to those who wait."""
        ring: Consumer = self.rings["EVENT"]  # type: ignore[assignment]
        while True:
            await self.t.wait_irq(IRQ_EVENT)
            rows = ring.harvest()
            if len(rows):
                await self.t.write_reg(Reg.EVENT_HEAD, ring.head)
            for row in rows:
                e = EVENT.unpack(row)
                if e["type"] == Event.COMPLETE and e["tag"] in self.waiting:
                    self.events[e["tag"]] = e
                    self.waiting[e["tag"]].wake_all()

    async def done_thread(self) -> None:
        """Counts work completions."""
        ring: Consumer = self.rings["DONE"]  # type: ignore[assignment]
        while True:
            await self.t.wait_irq(IRQ_DONE)
            rows = ring.harvest()
            if len(rows):
                await self.t.write_reg(Reg.DONE_HEAD, ring.head)
            for status in DONE.get(rows, "status").tolist():
                self.status[status] = self.status.get(status, 0) + 1
            self.finished += len(rows)
            self.work.head = (self.work.head + len(rows)) & COUNT_MASK
            self.done_wq.wake_all()

    def address(self) -> int:
        """An address in the table; a few pages get most accesses."""
        rng, plan = self.rng, self.plan
        if plan.huge_pages and rng.random() < 0.2:
            return (HUGE_VPN + HUGE * rng.randrange(plan.huge_pages)) * PAGE + rng.randrange(HUGE) * PAGE
        page = rng.randrange(plan.pages) if rng.random() < 0.5 else rng.randrange(min(6, plan.pages))
        return (BASE_VPN + page) * PAGE

    def descriptor(self) -> NDArray[np.uint64]:
        """A random work descriptor."""
        rng = self.rng
        pasid, n = rng.choice(self.plan.pasids), rng.randint(1, self.plan.max_len)
        va = self.address() + rng.randrange(PAGE - n)
        op = rng.choice([Work.READ, Work.READ, Work.FILL, Work.COPY, Work.WRITE])
        more: dict[str, int] = {}
        if op in (Work.READ, Work.FILL) and rng.random() < self.plan.cross:
            # Accesses of one ID to several pages: those behind wait for those in front.
            n, va = rng.randint(PAGE, 2 * PAGE), va & -64
        if op == Work.COPY:
            more["src"] = self.address() + (va & 63) + 64 * rng.randrange((PAGE - n - 64) // 64)
        elif op != Work.READ:
            more["data"] = rng.getrandbits(64)
            n = min(n, 8) if op == Work.WRITE else n
        return WORK.pack(
            op=op, flags=Flag.COMPLETE, pasid=pasid, len=n, requester=rng.randrange(4), va=va, **more
        )

    async def traffic_thread(self) -> None:
        """Keeps descriptors outstanding."""
        plan = self.plan
        limit = min(plan.outstanding, self.work.size - 1)
        while self.sent < plan.descriptors:
            await self.done_wq.wait(lambda: self.sent - self.finished <= limit // 2)
            n = min(limit - (self.sent - self.finished), plan.descriptors - self.sent)
            self.work.post(np.concatenate([self.descriptor() for _ in range(n)]))
            self.sent += n
            await self.ring_doorbell(Reg.WORK_TAIL, lambda: self.work.tail)
        await self.done_wq.wait(lambda: self.finished == self.sent)
        self.stopping = True

    async def mutator_thread(self) -> None:
        """Invalidates and changes mappings until the traffic is over."""
        rng, plan = self.rng, self.plan
        while not self.stopping:
            await sleep(rng.randint(1, plan.pause_ns))
            await self.room()
            x = rng.random()
            pasid = rng.choice(plan.pasids)
            if pasid in self.closing or pasid not in self.attached:
                continue
            if x < plan.detach:
                if await self.detach(pasid):
                    await self.attach(pasid)
            elif x < plan.detach + plan.pasid_wide:
                if rng.random() < 0.3:
                    await self.invalidate(None, 0, INF)
                else:
                    await self.invalidate(pasid, 0, INF)
            else:
                n = rng.choice([1, 1, 1, 2, 7, plan.pages])
                await self.invalidate(pasid, self.address() // PAGE, n)
        self.left -= 1

    async def invalidate(self, pasid: int | None, vpn: int, n: int) -> None:
        """Invalidate a range, a PASID or all; then take the frames or the write permission away."""
        rng = self.rng
        pages = []
        for (p, v), m in self.table.items():
            size = HUGE if m.huge else 1
            if pasid in (None, p) and vpn < v + size and v < vpn + n and p not in self.closing:
                pages.append((p, v))
        pages = [k for k in pages if k not in self.busy]
        self.busy.update(pages)
        first = [self.fill(*k) for k in pages[:8] if rng.random() < self.plan.fill_first]
        if pasid is None:
            tag, row = self.tagged(Op.INVALIDATE_ALL)
        elif n == INF:
            tag, row = self.tagged(Op.INVALIDATE_PASID, pasid=pasid)
        else:
            tag, row = self.tagged(Op.INVALIDATE, pasid=pasid, va=vpn * PAGE, npages=n)
        await self.post(*first, row)
        await self.completed(tag)
        for k in pages:
            m = self.table[k]
            if rng.random() < self.plan.protect:
                self.map(*k, Mapping(m.pfn, READ, m.huge))
            else:
                self.unmap(*k)
        await self.release(pages)

    async def release(self, pages: list[tuple[int, int]]) -> None:
        """Pages are no longer busy: serve the faults that waited."""
        self.busy.difference_update(pages)
        again, self.retry = self.retry, []
        await self.room()
        for row in again:
            await self.serve(row)

    async def detach(self, pasid: int) -> bool:
        """DETACH, wait, drop every mapping; False when an invalidation of it is under way."""
        if pasid in self.closing or any(p == pasid for p, _ in self.busy):
            return False
        self.closing.add(pasid)
        tag, row = self.tagged(Op.DETACH, pasid=pasid)
        await self.post(row)
        await self.completed(tag)
        self.attached.discard(pasid)
        for p, v in [k for k in self.table if k[0] == pasid]:
            self.unmap(p, v)
        self.retry = [r for r in self.retry if FAULT.unpack(r)["pasid"] != pasid]
        self.closing.discard(pasid)
        return True

    async def main(self) -> None:
        """The whole run."""
        for pasid in self.plan.pasids:
            self.oracle.bind(pasid, pasid)
        await self.start()
        for make in (self.fault_thread, self.event_thread, self.done_thread):
            self.sched.spawn(make(), make.__name__, daemon=True)
        threads = [self.sched.spawn(self.traffic_thread(), "traffic")]
        threads += [self.sched.spawn(self.mutator_thread(), f"mutator{i}") for i in range(self.plan.mutators)]
        for t in threads:
            await t.join()
        for pasid in self.plan.pasids:
            await self.detach(pasid)
        tag, row = self.tagged(Op.FENCE)
        await self.post(row)
        await self.completed(tag)
        self.complete = True


class Caught(Exception):
    """The oracle has found what was looked for: enough."""


class Watch:
    """Feeds an oracle from a world; ends the run at a violation of `stop`, or without progress."""

    def __init__(self, world: World, oracle: Oracle, stop: Iterable[str], stall_cycles: int = 80_000) -> None:
        self.world = world
        self.oracle = oracle
        self.stop = frozenset(stop)
        self.stall_cycles = stall_cycles
        self.last = 0
        world.on_logs = self.logs

    def logs(self, accesses: NDArray, records: NDArray) -> None:
        """Raises Caught and SimHang."""
        self.oracle.feed(accesses, records)
        if self.stop & self.oracle.verdict.rules.keys():
            raise Caught
        if len(accesses):
            self.last = int(accesses["t_resp"][-1])
        elif self.world.cycle - self.last > self.stall_cycles:
            raise SimHang(f"no access for {self.stall_cycles} cycles: {self.world.diagnosis()}")

    def run(self, max_cycles: int) -> Verdict:
        """Run the world and judge; what is stuck at the end is for the oracle to say."""
        try:
            self.world.run_plain(max_cycles=max_cycles)
        except SimHang as e:
            self.oracle.account([f"the run is stuck: {e}"])
        except Caught:
            return self.oracle.verdict
        return self.oracle.finish(self.world.stats()["outstanding"])


def run(
    world: World,
    plan: Plan | None = None,
    seed: int = 1,
    max_cycles: int = 4_000_000,
    stop: Iterable[str] = (),
    **options: Any,
) -> Verdict:
    """Stress the device of a world that this process steps; ends at the first violation of a rule in `stop`.

    Raises what a thread or the harness raises, except SimHang.
    """
    oracle = Oracle(bus_base=world.bus_base, now=lambda: world.cycle, **options)
    watch = Watch(world, oracle, stop)
    host = StressHost(world.transport, world.sched, oracle, plan or Plan(), seed)
    world.spawn(host.main(), "stress")
    verdict = watch.run(max_cycles)
    verdict.seen["descriptors"] = host.finished
    return verdict
