"""Random traffic against a random host; env_core checks every access against the contract by time stamps."""

from __future__ import annotations

from typing import Any

import cocotb

from sw_model.device_interface import Code, Op, Size
from tb.env_core import DECERR, OKAY, PAGE, PAGE_BYTES, RW, SLVERR, Access, Cmd, CoreEnv

PASIDS = (1, 2, 0x40002, 0xFFFFF)
#: Each page size has its own region, so that no two sizes ever cover one address.
REGIONS = {Size.P4K: 0x7F12_3456_7000, Size.P2M: 0x4000_0000, Size.P1G: 0x100_0000_0000}


class RandomHost:
    """A host that maps, unmaps, refuses, detaches and answers at random, every mapping in a fresh frame."""

    def __init__(self, env: CoreEnv, detach: bool) -> None:
        self.env = env
        self.rng = env.rng
        self.table: dict[tuple[int, Size, int], int] = {}
        self.frame = 1 << 20
        self.state = dict.fromkeys(PASIDS, "on")
        self.with_detach = detach
        self.refused: list[tuple[int, int, int, int, int]] = []
        self.detached: list[tuple[int, int, list[Cmd]]] = []
        self.busy = True
        self.queue: list[dict[str, int]] = []
        self.pages = (20, 4, 2)
        env.on_fault = self.queue.append
        env.on_done = self.check_done

    def key(self, pasid: int, va: int) -> tuple[int, Size, int]:
        """The page of whatever size that holds an address."""
        for size in (Size.P4K, Size.P1G, Size.P2M):
            if va >= REGIONS[size]:
                return pasid, size, va & ~(PAGE_BYTES[size] - 1)
        raise AssertionError(hex(va))

    def any_va(self) -> int:
        """An address in one of the regions, pages of one TLB set preferred."""
        size = self.rng.choices((Size.P4K, Size.P2M, Size.P1G), (12, 3, 1))[0]
        page = self.rng.randrange(self.pages[size])
        if size == Size.P4K and page >= 8:
            page = (page - 8) * self.env.sets
        va = REGIONS[size] + page * PAGE_BYTES[size]
        if size != Size.P4K:
            va += self.rng.randrange(4) * PAGE * (1 << self.rng.randrange(6))
        return va

    def map(self, pasid: int, va: int, need: int) -> None:
        """Fill the page of an address; the same frame as long as it stays mapped."""
        key = self.key(pasid, va)
        size, base = key[1], key[2]
        if key not in self.table:
            step = PAGE_BYTES[size] // PAGE
            self.frame = -(-self.frame // step) * step
            self.table[key] = self.frame * PAGE
            self.frame += step
        perm = RW if self.rng.random() < 0.7 else need or self.rng.choice((1, 2))
        self.env.fill(pasid, base, self.table[key], perm, size)

    def unmap(self, cmd: Cmd) -> None:
        """Forget what an invalidation covers: it will be mapped to fresh frames."""
        f = cmd.f
        for key in list(self.table):
            pasid, size, va = key
            hit = cmd.op == Op.INVALIDATE_ALL or pasid == f["pasid"]
            if cmd.op == Op.INVALIDATE:
                hit = hit and va < f["va"] + f["npages"] * PAGE and f["va"] < va + PAGE_BYTES[size]
            if hit:
                del self.table[key]

    def answer(self, rec: dict[str, int]) -> None:
        """Answer one fault."""
        rng = self.rng
        if self.state[rec["pasid"]] != "on":
            self.env.respond(rec, rng.choice((Code.SUCCESS, Code.FAILURE)))
            return
        draw = rng.random()
        if draw < 0.06:
            code = rng.choice((Code.INVALID, Code.FAILURE))
            self.env.respond(rec, code)
            resp = SLVERR if code == Code.INVALID else DECERR
            self.refused.append((rec["pasid"], rec["va"], rec["access"], resp, self.env.t()))
            return
        if draw < 0.90:
            self.map(rec["pasid"], rec["va"], rec["access"])
        self.env.respond(rec)

    def invalidate(self) -> None:
        """One random invalidation."""
        rng, env = self.rng, self.env
        pasid = rng.choice(PASIDS)
        draw = rng.random()
        if draw < 0.6:
            cmd = env.invalidate(pasid, self.any_va() & ~(PAGE - 1), 1, complete=rng.random() < 0.8)
        elif draw < 0.85:
            cmd = env.invalidate(pasid, self.any_va() & ~(PAGE - 1), rng.choice((2, 3, 16, 300, 2000)))
        elif draw < 0.95:
            cmd = env.invalidate_pasid(pasid)
        else:
            cmd = env.invalidate_all()
        self.unmap(cmd)

    def junk(self) -> None:
        """A malformed command, a stale answer or a fence."""
        rng, env = self.rng, self.env
        draw = rng.random()
        if draw < 0.3:
            env.command(op=rng.choice((0, 9, 200)), raw=rng.getrandbits(180) << 64)
        elif draw < 0.6:
            env.respond({"pasid": 1, "seq": rng.getrandbits(32) | 1 << 31, "fault": rng.randrange(256)}, 15)
        elif draw < 0.8:
            env.fence()
        else:
            env.fill(rng.choice(PASIDS), REGIONS[Size.P4K] + 8, 0)

    async def detach(self, pasid: int) -> None:
        """Detach, wait for the completion, attach again."""
        env = self.env
        self.state[pasid] = "detaching"
        cmd = env.detach(pasid)
        self.unmap(cmd)
        again: list[Cmd] = []
        self.detached.append((pasid, env.t(), again))
        await env.done(cmd, limit=20000)
        again.append(env.command(op=Op.ATTACH, pasid=pasid))
        self.state[pasid] = "on"

    async def run(self) -> None:
        """Serve for ever."""
        env, rng = self.env, self.rng
        while True:
            await env.cycles(rng.choice((1, 1, 2, 5, 20)))
            while self.queue and rng.random() < 0.8:
                self.answer(self.queue.pop(rng.randrange(len(self.queue))))
            if not self.busy:
                continue
            if rng.random() < 0.12:
                self.invalidate()
            if rng.random() < 0.03:
                self.junk()
            if rng.random() < 0.05:
                pasid = rng.choice(PASIDS)
                if self.state[pasid] == "on":
                    self.map(pasid, self.any_va(), 0)
            if self.with_detach and rng.random() < 0.008:
                pasid = rng.choice(PASIDS)
                if self.state[pasid] == "on":
                    cocotb.start_soon(self.detach(pasid))

    def check_done(self, acc: Access) -> None:
        """An error must have a reason: a refused fault in the access's life, or a detach."""
        if acc.resp == OKAY:
            return
        for pasid, va, access, resp, t in self.refused:
            same = pasid == acc.pasid and va == acc.va & ~(PAGE - 1)
            if same and access & acc.kind and resp == acc.resp and t <= acc.t_done:
                return
        for pasid, t, again in self.detached:
            over = again[0].t_acc + 20 if again and again[0].t_acc > 0 else acc.t_done
            if pasid == acc.pasid and t <= acc.t_done and acc.t_acc <= over and acc.resp == DECERR:
                return
        raise AssertionError(f"{acc} ended with {acc.resp} without a reason")


async def storm(dut: Any, n: int, detach: bool, tight: bool = False) -> CoreEnv:
    """n random accesses against a RandomHost."""
    env = await CoreEnv.make(dut)
    rng = env.rng
    env.attach(*PASIDS)
    await env.sync()
    host = RandomHost(env, detach)
    server = cocotb.start_soon(host.run())
    mem = env.mem
    held: set[int] = set()
    mem.hold = lambda txn: txn.id in held
    if tight:
        host.pages = (3, 1, 1)
    left = n
    while left:
        mem.lat = rng.choice(((0, 2), (1, 20), (5, 80)))
        mem.reorder, mem.interleave = rng.random() < 0.7, rng.random() < 0.5
        mem.p_ar, mem.p_aw, mem.p_w = (rng.choice((1, 1, 0.7, 0.3)) for _ in range(3))
        env.p_rready, env.p_bready, env.p_fault, env.p_event = (
            rng.choice((1, 1, 0.6, 0.2)) for _ in range(4)
        )
        held.clear()
        if rng.random() < 0.3:
            held.update(rng.sample(range(16), 4))
        for _ in range(min(left, rng.randint(20, 80))):
            left -= 1
            va = host.any_va()
            beats = rng.choice((1, 1, 1, 2, 4, 7))
            va += rng.randrange((PAGE - beats * env.bus_bytes) // env.bus_bytes + 1) * env.bus_bytes
            call = rng.choice((env.read, env.write))
            call(rng.choice(PASIDS), va, id=rng.randrange(16), beats=beats, req=rng.randrange(4))
            if rng.random() < 0.3:
                await env.cycles(rng.choice((1, 2, 8)))
        await env.cycles(rng.randint(1, 150))
    held.clear()
    host.busy = False
    await env.until(lambda: all(s == "on" for s in host.state.values()), 20000, "detaches done")
    env.p_rready = env.p_bready = env.p_fault = env.p_event = 1
    mem.p_ar = mem.p_aw = mem.p_w = 1
    await env.finish(limit=40000)
    await env.sync()
    assert not [rec for rec in env.outstanding.values() if "answered" not in rec] or host.queue == []
    server.cancel()
    ok = sum(a.resp == OKAY for a in env.accesses)
    env.log.info(
        "seed %d: %d accesses (%d OKAY), %d faults, %d commands, %d cycles",
        cocotb.RANDOM_SEED,
        len(env.accesses),
        ok,
        len(env.faults),
        len(env.cmds),
        env.t(),
    )
    assert ok > n // 3
    await env.end()
    return env


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(round=list(range(4)))
async def test_random_traffic_and_host(dut, round):
    await storm(dut, 700, detach=False)


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(round=list(range(3)))
async def test_random_traffic_and_host_with_detach(dut, round):
    await storm(dut, 600, detach=True)


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(round=list(range(2)))
async def test_random_traffic_on_very_few_pages(dut, round):
    await storm(dut, 600, detach=False, tight=True)
