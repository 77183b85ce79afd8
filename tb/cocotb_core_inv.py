"""The invalidation contract, fences and malformed commands."""

from __future__ import annotations

from typing import Any

import cocotb

from sw_model.device_interface import CmdError, Code, Op, Size
from tb.env_core import DECERR, OKAY, PA, PAGE, RW, VA, Cmd, CoreEnv, Host, R, W, mapped

T = {"timeout_time": 400, "timeout_unit": "us"}


def env_sets(dut: Any) -> int:
    """Sets of the 4-KiB cache."""
    return int(dut.SETS.value)


async def resident(env: CoreEnv, *where: tuple[int, int]) -> list[bool]:
    """Which (pasid, va) hit now; misses are answered FAILURE, so nothing changes."""
    old = env.on_fault
    env.on_fault = lambda rec: env.respond(rec, Code.FAILURE) and None
    accs = [env.read(p, va, id=i % 16) for i, (p, va) in enumerate(where)]
    await env.finish(*accs)
    env.on_fault = old
    return [a.resp == OKAY for a in accs]


@cocotb.test(**T)
async def test_contract_1_no_lookup_hits_after_the_effect(dut):
    """A stream of hits runs over the invalidation at every alignment; the checker compares times."""
    env = await mapped(dut, 16)
    Host(env)
    for d in range(12):
        for i in range(60):
            env.read(1, VA + (i % 2) * PAGE, id=i % 8)
            env.write(1, VA + (i % 2) * PAGE, id=i % 8)
        await env.cycles(12 + d)
        inv = env.invalidate(1, VA)
        await env.done(inv)
        users = [a for a in env.accesses if a.txn and a.va & ~(PAGE - 1) == VA and a.t_acc > 0]
        late = [a for a in users if a.txn.grant.n < inv.n and a.txn.t_valid > inv.effect + 2]
        assert not late, f"{late[0]} left at {late[0].txn.t_valid}, effect {inv.effect}"
        await env.finish()
    await env.end()


@cocotb.test(**T)
@cocotb.parametrize(what=["range", "pasid", "all", "detach"])
async def test_contract_1_holds_for_every_page_from_the_effect_on(dut, what):
    """A walk takes a row a cycle; the last rows are as dead as the first from the effect on."""
    env = await mapped(dut, min(64, env_sets(dut)), 1, 2)
    env.fill(1, 0x4000_0000, 0x1_0000_0000, size=Size.P2M)
    env.fill(1, 0x8000_0000, 0x2_0000_0000, size=Size.P1G)
    await env.sync()
    env.on_fault = lambda rec: env.respond(rec, Code.FAILURE)
    n = min(64, env_sets(dut))
    places = [VA + i * PAGE for i in range(n - 8, n)] + [0x4000_1000, 0x8000_1000]
    accs = []
    for i in range(200):
        accs.append(env.read(1, places[i % len(places)], id=i % 32))
        accs.append(env.write(1, places[i * 3 % len(places)], id=i % 32))
    await env.cycles(60)
    inv = {
        "range": lambda: env.invalidate(1, 0, 1 << 36),
        "pasid": lambda: env.invalidate_pasid(1),
        "all": lambda: env.invalidate_all(),
        "detach": lambda: env.detach(1),
    }[what]()
    await env.done(inv)
    await env.finish()
    users = [a for a in accs if a.txn]
    late = [a for a in users if a.txn.t_valid > inv.effect + 2]
    assert users and len(users) < len(accs), "the stream did not run over the invalidation"
    assert not late, f"{late[0]} left at {late[0].txn.t_valid}, effect {inv.effect}"
    await env.end()


@cocotb.test(**T)
@cocotb.parametrize(size=[Size.P2M, Size.P1G], start=[0x3000, -0x8000])
async def test_contract_1_covers_the_whole_large_page_from_the_effect_on(dut, size, start):
    """Hits far from the invalidated 4 KiB, in the same large page, end at the effect too."""
    env = await CoreEnv.make(dut)
    env.attach(1)
    env.on_fault = lambda rec: env.respond(rec, Code.FAILURE)
    base = 0x40_0000_0000
    for d in range(8):
        env.fill(1, base, 0x80_0000_0000 + (d << 32), size=size)
        await env.sync()
        accs = []
        for i in range(60):
            accs.append(env.read(1, base + 0x18_0000 + i * 0x40, id=i % 32))
            accs.append(env.write(1, base + 0x18_0000 + i * 0x40, id=i % 32))
        await env.cycles(15 + d)
        inv = env.invalidate(1, base + start, 1 if start > 0 else 9)
        await env.done(inv)
        await env.finish()
        late = [a for a in accs if a.txn and a.txn.t_valid > inv.effect + 2]
        assert any(a.txn for a in accs) and not all(a.txn for a in accs)
        assert not late, f"{late[0]} left at {late[0].txn.t_valid}, effect {inv.effect}"
    await env.end()


@cocotb.test(**T)
@cocotb.parametrize(kind=["read", "write"], what=["page", "range", "pasid", "all"])
async def test_contract_2_completion_waits_for_the_response(dut, kind, what):
    env = await mapped(dut, 16)
    env.mem.hold = lambda txn: True
    accs = [getattr(env, kind)(1, VA + 4 * PAGE + 64 * i, id=i, beats=2) for i in range(5)]
    await env.until(lambda: all(a.txn for a in accs), 100, "hits issued")
    inv = {
        "page": lambda: env.invalidate(1, VA + 4 * PAGE),
        "range": lambda: env.invalidate(1, VA, 16),
        "pasid": lambda: env.invalidate_pasid(1),
        "all": lambda: env.invalidate_all(),
    }[what]()
    # Whatever has no range visits every row before it takes effect.
    walk = env.sets if what in ("pasid", "all") else 0
    await env.never(lambda: inv.event, 400 + walk, "completed before the responses")
    for i in (3, 0, 4, 1):
        env.mem.hold = lambda txn, i=i: txn.id != i
        await env.finish(accs[i])
        await env.never(lambda: inv.event, 20, "completed before the last response")
    env.mem.hold = lambda txn: False
    await env.done(inv, limit=100)
    last = max(a.txn.t_done for a in accs)
    assert inv.t_event_valid - last <= 6, (
        f"completion {inv.t_event_valid - last} cycles after the last response"
    )
    assert await env.counter("DRAIN_CYCLES") > 300
    await env.end()


@cocotb.test(**T)
async def test_contract_2_write_is_in_flight_until_its_response(dut):
    """AW accepted, data delayed by the master, then by the bus, then the response."""
    env = await mapped(dut, 4)
    acc = env.write(1, VA, beats=4, send_data=False)
    await env.until(lambda: acc.t_acc > 0, 50)
    await env.cycles(10)
    inv = env.invalidate(1, VA)
    await env.never(lambda: inv.event, 60, "completed before the data")
    env.mem.p_w = 0
    env.send_data(acc)
    await env.never(lambda: inv.event, 60, "completed before the bus took the data")
    env.mem.hold = lambda txn: True
    env.mem.p_w = 1
    await env.never(lambda: inv.event, 60, "completed before the response")
    env.mem.hold = lambda txn: False
    await env.done(inv)
    await env.end()


@cocotb.test(**T)
@cocotb.parametrize(kind=["read", "write"])
async def test_contract_2_access_waiting_for_the_bus_counts_as_in_flight(dut, kind):
    """The lookup hit, but AxREADY is low when the invalidation comes."""
    env = await mapped(dut, 8)
    Host(env)
    env.mem.p_ar = env.mem.p_aw = 0
    await env.cycles(2)
    accs = [getattr(env, kind)(1, VA + (i % 2) * PAGE, id=i) for i in range(8)]
    await env.cycles(30)
    inv = env.invalidate(1, VA)
    other = env.invalidate(1, VA + 7 * PAGE)
    await env.cycles(150)
    # Sent on or looked up again, either is fine: the checker refuses a use after the completion.
    env.mem.p_ar = env.mem.p_aw = 1
    await env.done(inv, other)
    await env.finish()
    assert all(a.resp == OKAY for a in accs)
    await env.end()


@cocotb.test(**T)
async def test_contract_3_only_overlapping_traffic_is_waited_for(dut):
    env = await mapped(dut, 16, 1, 2)
    env.mem.hold = lambda txn: True
    busy = [env.read(1, VA + 3 * PAGE, id=1), env.write(1, VA + 3 * PAGE, id=1), env.read(2, VA + PAGE, id=2)]
    await env.until(lambda: all(a.txn for a in busy), 100)
    free = [
        env.invalidate(1, VA + 2 * PAGE),
        env.invalidate(1, VA + 4 * PAGE, 12),
        env.invalidate(1, VA, 3),
        env.invalidate(2, VA + 3 * PAGE, 4),
        env.invalidate_pasid(3),
    ]
    await env.done(*free, limit=400)
    waits = env.invalidate(1, VA + 2 * PAGE, 2)
    await env.never(lambda: waits.event, 100, "completed with overlapping traffic")
    env.mem.hold = lambda txn: False
    await env.done(waits)
    await env.end()


@cocotb.test(**T)
@cocotb.parametrize(kind=["read", "write"])
async def test_contract_3_parked_access_never_delays_a_completion(dut, kind):
    env = await mapped(dut, 4)
    call = getattr(env, kind)
    parked = [call(1, VA + (8 + i) * PAGE, id=i, beats=4) for i in range(6)]
    behind = [call(1, VA + i % 4 * PAGE, id=i) for i in range(6)]
    await env.until(lambda: len(env.faults) == 6, 200)
    await env.done(
        env.invalidate(1, VA + 8 * PAGE, 6),
        env.invalidate(1, VA, 4),
        env.invalidate_pasid(1),
        env.invalidate_all(),
        limit=800,
    )
    assert all(a.txn is None for a in parked + behind)
    host = Host(env)
    for rec in list(env.faults):
        host.serve(rec)
    await env.finish()
    await env.end()


@cocotb.test(**T)
async def test_contract_4_fill_before_invalidate_never_hits_after_completion(dut):
    env = await CoreEnv.make(dut)
    env.attach(1)
    for gap in range(8):
        va = VA + gap * 0x100_0000
        acc = env.read(1, va, id=gap)
        await env.until(lambda n=gap: len(env.faults) == n + 1, 100)
        env.fill(1, va, PA + gap * PAGE)
        if gap:
            for k in range(gap):
                env.fill(1, va + (k + 1) * PAGE, PA + (k + 100) * PAGE)
        inv = env.invalidate(1, va)
        await env.done(inv)
        env.respond(env.faults[gap], Code.FAILURE)
        await env.finish(acc)
        assert acc.resp == DECERR, "the parked access used a fill older than the invalidation"
        assert await resident(env, (1, va)) == [False]
        env.faults.pop()
    await env.end()


@cocotb.test(**T)
async def test_contract_4_run_of_fills_and_invalidations_in_order(dut):
    """Streams of fill/invalidate/fill on the same pages: the last word counts."""
    env = await CoreEnv.make(dut)
    env.attach(1)
    rng = env.rng
    last: dict[int, bool] = {}
    frame = PA >> 12
    for _ in range(150):
        page = rng.randrange(12)
        if rng.random() < 0.6:
            n = rng.choice((1, 1, 2, 4))
            env.fill(1, VA + page * PAGE, frame << 12, npages=n)
            frame += n
            last.update({page + k: True for k in range(n)})
        else:
            n = rng.choice((1, 1, 3))
            env.invalidate(1, VA + page * PAGE, n, complete=rng.random() < 0.5)
            last.update({page + k: False for k in range(n)})
    await env.sync()
    pages = sorted(last)
    got = await resident(env, *((1, VA + p * PAGE) for p in pages))
    assert got == [last[p] for p in pages]
    await env.end()


@cocotb.test(**T)
async def test_contract_5_neighbours_survive(dut):
    env = await CoreEnv.make(dut)
    env.attach(1, 2)
    stride = env.sets * PAGE
    same_set = [VA + i * stride for i in range(env.ways)]
    for i, va in enumerate(same_set):
        env.fill(1, va, PA + i * PAGE)
    env.fill(1, VA + PAGE, PA + 100 * PAGE)
    env.fill(1, VA - PAGE, PA + 101 * PAGE)
    env.fill(2, VA + PAGE, PA + 102 * PAGE)
    env.fill(2, 0x4000_0000, 0x8000_0000, size=Size.P2M)
    env.fill(1, 0x8000_0000, 0x1_0000_0000, size=Size.P1G)
    await env.done(env.invalidate(1, VA))
    got = await resident(env, *((1, va) for va in same_set))
    assert got == [False] + [True] * (env.ways - 1), got
    rest = [(1, VA + PAGE), (1, VA - PAGE), (2, VA + PAGE), (2, 0x4000_0000), (1, 0x8000_0000)]
    assert all(await resident(env, *rest))
    await env.done(env.invalidate(1, VA + stride, (env.ways - 2) * env.sets + 1 if env.ways > 2 else 1))
    got = await resident(env, *((1, va) for va in same_set))
    assert got == [False] * env.ways, got
    assert all(await resident(env, *rest))
    await env.done(env.invalidate_pasid(1))
    assert await resident(env, *rest) == [False, False, True, True, False]
    await env.done(env.invalidate_all())
    assert not any(await resident(env, *rest))
    await env.end()


@cocotb.test(**T)
@cocotb.parametrize(n=[1, 16, 256, 1024])
async def test_contract_6_cost_and_lookup_rate(dut, n):
    env = await mapped(dut, 16, 1, 2)
    base = VA + (1 << 30)
    env.fill(1, base, PA + (1 << 24), npages=min(n, 64))
    await env.sync()
    await env.cycles(300)
    idle = env.invalidate(1, base, n)
    after = env.fence()
    await env.done(idle, after, limit=3000)
    bound = min(n, env.sets)
    const = 4 if n == 1 else 16
    cost = idle.event["cycle"] - idle.effect
    busy = after.t_acc - idle.t_acc
    whole = idle.t_event_valid - idle.t_acc
    env.log.info(
        "N=%d: effect to completion %d, command to event %d, to next command %d", n, cost, whole, busy
    )
    assert cost <= (4 if n == 1 else bound + const), f"N={n}: {cost} cycles from effect to completion"
    assert busy <= bound + const, f"N={n}: the next command waits {busy} cycles"
    assert whole <= bound + 20, f"N={n}: {whole} cycles from command to event"
    # The same under full read and write load to other pages of the same PASID.
    m = 2 * bound + 150
    reads = [env.read(1, VA + i % 16 * PAGE, id=i % 32) for i in range(m)]
    writes = [env.write(1, VA + i % 16 * PAGE, id=i % 32) for i in range(m)]
    await env.cycles(40)
    inv = env.invalidate(1, base, n)
    after = env.fence()
    await env.done(inv, after, limit=3000)
    await env.finish(limit=6 * m)
    cost = inv.event["cycle"] - inv.effect
    # Each slot with an access in flight is visited, in both directions.
    assert cost <= 80, f"N={n}: {cost} cycles under load"
    lo, hi = inv.t_acc, max(inv.t_event_valid, after.t_acc, inv.t_acc + 16)
    for name, accs in (("read", reads), ("write", writes)):
        inside = sum(lo < a.t_acc <= hi for a in accs)
        rate = inside / (hi - lo)
        env.log.info("N=%d: %s lookups per cycle meanwhile %.2f", n, name, rate)
        assert inside >= (hi - lo) // 2 - 2, f"N={n}: {rate:.2f} {name} lookups per cycle meanwhile"
        assert max(a.latency for a in accs) <= 4 + 8
    assert not env.faults
    await env.end()


@cocotb.test(**T)
async def test_contract_6_a_page_costs_at_most_4_cycles_back_to_back(dut):
    env = await mapped(dut, 64)
    cmds = [env.invalidate(1, VA + i * PAGE, complete=i == 63) for i in range(64)]
    await env.done(cmds[-1])
    each = (cmds[-1].effect - cmds[0].t_acc) / 63
    assert each <= 4.5, f"{each:.1f} cycles a page"
    assert await env.counter("INVALIDATED") == 64
    await env.end()


@cocotb.test(**T)
async def test_contract_6_commands_go_on_while_32_invalidations_drain(dut):
    env = await mapped(dut, 36)
    Host(env)
    env.mem.hold = lambda txn: txn.addr >> 12 < (PA >> 12) + 32
    busy = [env.read(1, VA + i * PAGE, id=i) for i in range(32)]
    await env.until(lambda: all(a.txn for a in busy), 100)
    invs = [env.invalidate(1, VA + i * PAGE) for i in range(32)]
    after = env.fill(1, VA + 40 * PAGE, PA + 40 * PAGE)
    await env.until(lambda: after.t_acc > 0, 300, "the fill is taken while 32 invalidations drain")
    await env.cycles(16)
    hit = env.read(1, VA + 40 * PAGE, id=40)
    await env.finish(hit)
    assert hit.resp == OKAY and not env.faults, "the fill behind draining invalidations had no effect"
    missing = env.read(1, VA + 50 * PAGE, id=41)
    await env.finish(missing, limit=400)
    assert not any(i.event for i in invs)
    # Released in reverse: completions come in ring order, each at its own drain.
    for k in range(31, 0, -1):
        env.mem.hold = lambda txn, k=k: txn.addr >> 12 < (PA >> 12) + k
        await env.finish(busy[k])
        assert not invs[0].event
    env.mem.hold = lambda txn: False
    await env.done(*invs)
    await env.end()


@cocotb.test(**T)
async def test_contract_6_more_than_32_draining_only_waits(dut):
    env = await mapped(dut, 50)
    env.mem.hold = lambda txn: True
    busy = [env.read(1, VA + i * PAGE, id=i) for i in range(48)]
    await env.until(lambda: all(a.txn for a in busy), 200)
    invs = [env.invalidate(1, VA + i * PAGE) for i in range(48)]
    await env.cycles(300)
    assert not any(i.event for i in invs)
    env.mem.hold = lambda txn: False
    await env.done(*invs)
    await env.end()


@cocotb.test(**T)
@cocotb.parametrize(kind=["read", "write"], size=[Size.P2M, Size.P1G])
async def test_page_size_aware_coverage_and_drain(dut, kind, size):
    """4 KiB inside a large page drops the whole large page and waits for accesses anywhere in it."""
    env = await CoreEnv.make(dut)
    env.attach(1)
    nb = 1 << (21 if size == Size.P2M else 30)
    va = 0x40_0000_0000
    env.fill(1, va, 0x80_0000_0000, size=size)
    env.fill(1, va + nb, 0x90_0000_0000, size=size)
    await env.sync()
    env.mem.hold = lambda txn: True
    acc = getattr(env, kind)(1, va + nb - 0x3000, id=1)
    next_page = getattr(env, kind)(1, va + nb, id=2)
    await env.until(lambda: acc.txn and next_page.txn, 60)
    inv = env.invalidate(1, va + 0x2000)
    await env.never(lambda: inv.event, 150, "completed while an access in the large page is in flight")
    env.mem.hold = lambda txn: txn.id == 2
    await env.done(inv, limit=100)
    env.mem.hold = lambda txn: False
    got = await resident(env, (1, va), (1, va + nb - PAGE), (1, va + 0x2000), (1, va + nb))
    assert got == [False, False, False, True], got
    # A range that only touches the first byte behind the page leaves it alone.
    env.fill(1, va, 0x80_0000_0000, size=size)
    await env.done(env.invalidate(1, va + nb, 1))
    assert await resident(env, (1, va), (1, va + nb)) == [True, False]
    await env.end()


@cocotb.test(**T)
async def test_invalidate_scopes(dut):
    env = await CoreEnv.make(dut)
    pasids = [1, 2, 0x80001]
    env.attach(*pasids)
    places = []
    for i, p in enumerate(pasids):
        env.fill(p, VA, PA + i * 16 * PAGE, npages=4)
        env.fill(p, 0x4000_0000, 0x1_0000_0000 + (i << 21), size=Size.P2M)
        env.fill(p, 0x8000_0000, (i + 8) << 30, size=Size.P1G)
        places += [(p, VA), (p, VA + 3 * PAGE), (p, 0x4000_0000), (p, 0x8000_0000)]
    await env.sync()
    assert all(await resident(env, *places))
    await env.done(env.invalidate_pasid(2))
    assert await resident(env, *places) == [p != 2 for p, _ in places]
    await env.done(env.invalidate(1, 0, 1 << 36))
    assert await resident(env, *places) == [p == 0x80001 for p, _ in places]
    await env.done(env.invalidate_all())
    assert not any(await resident(env, *places))
    await env.end()


@cocotb.test(**T)
async def test_range_of_any_length_covers_exactly_its_pages(dut):
    env = await CoreEnv.make(dut)
    env.attach(1)
    for start, n in ((5, 1), (0, 2), (3, 10), (15, 17), (20, 12), (30, 300)):
        env.fill(1, VA, PA, npages=32)
        await env.done(env.invalidate(1, VA + start * PAGE, n))
        got = await resident(env, *((1, VA + i * PAGE) for i in range(32)))
        assert got == [not start <= i < start + n for i in range(32)], (start, n)
    await env.end()


@cocotb.test(**T)
async def test_invalidate_against_a_lookup_stalled_by_back_pressure(dut):
    env = await mapped(dut, 16, p_ar=0.15, p_aw=0.15, p_w=0.3, lat=(1, 30), reorder=True)
    Host(env, delay=(0, 10))
    rng = env.rng
    for _ in range(12):
        for _ in range(20):
            call = rng.choice((env.read, env.write))
            call(1, VA + rng.randrange(4) * PAGE, id=rng.randrange(16), beats=rng.choice((1, 2)))
        await env.cycles(rng.randint(1, 60))
        await env.done(env.invalidate(1, VA + rng.randrange(4) * PAGE, rng.choice((1, 2))), limit=6000)
    await env.finish(limit=20000)
    await env.end()


@cocotb.test(**T)
async def test_completions_wait_for_a_full_event_ring_and_keep_their_order(dut):
    env = await mapped(dut, 16)
    env.p_event = 0
    await env.cycles(2)
    cmds = [env.invalidate(1, VA + i * PAGE) for i in range(8)] + [env.fence()]
    await env.cycles(200)
    hit = env.read(1, VA + 12 * PAGE)
    await env.finish(hit)
    env.p_event = 0.3
    await env.done(*cmds)
    await env.end()


@cocotb.test(**T)
async def test_fence_completes_after_every_earlier_command(dut):
    env = await mapped(dut, 8)
    env.mem.hold = lambda txn: True
    acc = env.read(1, VA)
    await env.until(lambda: acc.txn, 50)
    inv = env.invalidate(1, VA, complete=False)
    fence = env.fence()
    tail = env.invalidate(1, VA + 5 * PAGE)
    await env.never(lambda: fence.event or tail.event, 120, "a fence passed a draining invalidation")
    env.mem.hold = lambda txn: False
    await env.done(fence, tail)
    assert fence.t_event > acc.txn.t_done and inv.event is None
    await env.done(env.fence(), env.fence())
    await env.end()


def bad_commands(env: CoreEnv) -> list[tuple[Cmd, CmdError]]:
    """One command for each reason, several for some."""
    va = VA
    fill = {"op": Op.FILL, "pasid": 1, "perm": RW, "va": va, "pa": PA + 64 * PAGE, "npages": 1}
    inv = {"op": Op.INVALIDATE, "pasid": 1, "va": va, "npages": 1}
    top = 1 << 48
    return [
        (env.command(op=0), CmdError.OPCODE),
        (env.command(op=9), CmdError.OPCODE),
        (env.command(op=255, complete=True), CmdError.OPCODE),
        (env.command(**fill, raw=2 << 8), CmdError.RESERVED),
        (env.command(**fill, raw=0x80 << 8), CmdError.RESERVED),
        (env.command(**fill, raw=1 << 60), CmdError.RESERVED),
        (env.command(**inv, raw=1 << 63), CmdError.RESERVED),
        (env.command(**{**fill, "va": va + 8}), CmdError.ALIGNMENT),
        (env.command(**{**fill, "pa": PA + 0x800}), CmdError.ALIGNMENT),
        (env.command(**{**fill, "size": Size.P2M, "pa": 0}), CmdError.ALIGNMENT),
        (env.command(**{**fill, "size": Size.P1G, "va": 1 << 30, "pa": 1 << 21}), CmdError.ALIGNMENT),
        (env.command(**{**inv, "va": va + 0x10}), CmdError.ALIGNMENT),
        (env.command(**{**fill, "npages": 0}), CmdError.COUNT),
        (env.command(**{**inv, "npages": 0}), CmdError.COUNT),
        (env.command(**{**fill, "va": top - PAGE, "npages": 2}), CmdError.COUNT),
        (env.command(**{**inv, "va": top - 3 * PAGE, "npages": 4}), CmdError.COUNT),
        (env.command(**{**inv, "npages": 1 << 51}), CmdError.COUNT),
        (env.command(**{**inv, "npages": (1 << 52) - 1}), CmdError.COUNT),
        (env.command(**{**fill, "va": 1 << 48}), CmdError.COUNT),
        (
            env.command(**{**fill, "size": Size.P1G, "va": 0, "pa": 0, "npages": (1 << 18) + 1}),
            CmdError.COUNT,
        ),
        (env.command(**{**fill, "size": 3, "va": 0, "pa": 0}), CmdError.SIZE),
        (env.command(**{**fill, "perm": 0}), CmdError.PERM),
        (env.command(op=Op.RESPOND, code=2, pasid=1), CmdError.CODE),
        (env.command(op=Op.RESPOND, code=14, pasid=1), CmdError.CODE),
        (env.command(**{**fill, "pasid": 77}), CmdError.NOT_ATTACHED),
        (env.command(op=Op.DETACH, pasid=77, complete=True), CmdError.NOT_ATTACHED),
    ]


@cocotb.test(**T)
async def test_malformed_commands_are_reported_with_index_and_change_nothing(dut):
    env = await mapped(dut, 4)
    acc = env.read(1, VA + 50 * PAGE, id=40)
    await env.until(lambda: env.faults, 60)
    bad = bad_commands(env)
    good = env.fence()
    await env.done(good)
    await env.cycles(50)
    for cmd, reason in bad:
        assert cmd.event is not None, f"{reason.name}: not reported: {cmd}"
        got = cmd.event["status"]
        assert cmd.event["type"] == 2 and got == reason, f"{cmd}: reason {got}, expected {reason.name}"
    assert len(env.errors) == len(bad)
    assert await env.counter("COMMAND_ERRORS") == len(bad)
    assert all(await resident(env, *((1, VA + i * PAGE) for i in range(4)))), "a bad command dropped a page"
    assert await resident(env, (1, (1 << 48) - PAGE)) == [False]
    assert acc.t_done < 0, "a bad command ended a parked access"
    env.fill(1, VA + 50 * PAGE, PA + 50 * PAGE)
    env.respond(env.faults[0])
    await env.finish()
    await env.end()


@cocotb.test(**T)
async def test_legal_extremes_of_commands_are_accepted(dut):
    env = await CoreEnv.make(dut)
    env.attach(0, 0xFFFFF)
    top = 1 << 48
    env.fill(0, top - PAGE, (1 << 48) - PAGE)
    env.fill(0, 0, 0)
    env.fill(0xFFFFF, top - (1 << 30), top - (1 << 30), size=Size.P1G)
    await env.sync()
    places = [(0, top - PAGE), (0, 0), (0xFFFFF, top - 64)]
    assert all(await resident(env, *places))
    await env.done(env.invalidate(0, top - PAGE, 1))
    assert await resident(env, *places) == [False, True, True]
    await env.done(env.invalidate(0xFFFFF, 0, 1 << 36))
    assert await resident(env, *places) == [False, True, False]
    env.attach(5)
    env.fill(5, VA, PA, W)
    env.fill(5, VA + PAGE, PA, R)
    await env.sync()
    assert not env.errors
    await env.end()


@cocotb.test(**T)
async def test_invalidations_run_while_faults_and_fills_run(dut):
    """Invalidate, re-fault and re-fill the same few pages as fast as possible for both directions."""
    env = await mapped(dut, 4, lat=(1, 12), reorder=True)
    host = Host(env)
    rng = env.rng
    for _ in range(60):
        for _ in range(8):
            page = VA + rng.randrange(4) * PAGE
            rng.choice((env.read, env.write))(1, page, id=rng.randrange(16), beats=rng.choice((1, 3)))
        page = VA + rng.randrange(4) * PAGE
        host.map.pop((1, page), None)
        env.invalidate(1, page)
        await env.cycles(rng.randint(0, 25))
    await env.finish(limit=20000)
    await env.sync()
    await env.end()
