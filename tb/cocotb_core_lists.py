"""What stands inside dmmu_core: lists, credits, rows written under a lookup, hand-overs between its parts."""

from __future__ import annotations

import cocotb

from sw_model.device_interface import Code, Size
from tb.env_core import DECERR, OKAY, PA, PAGE, VA, Host, attached

T = {"timeout_time": 400, "timeout_unit": "us"}


@cocotb.test(**T)
@cocotb.parametrize(size=[Size.P4K, Size.P2M, Size.P1G])
async def test_filling_a_page_in_use_again_makes_no_fault(dut, size):
    """A row that is written in the cycle of its read is looked up again."""
    env = await attached(dut)
    va = 0x40_0000_0000
    env.fill(1, va, 0x80_0000_0000, size=size)
    await env.sync()
    for d in range(4):
        for i in range(40):
            env.read(1, va + i * 64, id=i % 16)
            env.write(1, va + i * 64, id=i % 16)
        await env.cycles(10 + d)
        for _ in range(3):
            env.fill(1, va, 0x80_0000_0000, size=size)
        await env.finish()
        assert not env.faults, f"a page in the cache faulted: {env.faults[0]}"
    await env.end()


@cocotb.test(**T)
async def test_an_access_that_saw_no_fill_looks_up_again(dut):
    """An access on its way when a fill is written makes no fault of its own."""
    env = await attached(dut)
    for d in range(-2, 14):
        page = VA + (d + 20) * 0x10_0000
        n = len(env.faults)
        env.read(1, page, id=1)
        await env.until(lambda n=n: len(env.faults) > n, 100)
        await env.cycles(10)
        env.fill(1, page, PA + d * PAGE + 0x40_0000)
        env.respond(env.faults[n])
        await env.cycles(d + 2)
        env.write(1, page, id=2)
        env.read(1, page, id=3)
        await env.cycles(60)
        assert len(env.faults) == n + 1, f"distance {d}: a fault behind the fill"
        await env.finish()
    await env.end()


@cocotb.test(**T)
@cocotb.parametrize(size=[Size.P4K, Size.P2M, Size.P1G])
async def test_contract_2_a_single_access_at_every_distance_from_an_invalidation(dut, size):
    """The last access that uses the old translation is waited for, though no other is in flight."""
    env = await attached(dut, lat=(40, 40))
    env.on_fault = lambda rec: env.respond(rec, Code.FAILURE)
    va = 0x40_0000_0000
    hits = []
    for d in range(24):
        env.fill(1, va, 0x80_0000_0000 + (d << 32), size=size)
        await env.sync()
        inv = env.invalidate(1, va)
        await env.cycles(d)
        accs = [env.read(1, va, id=1), env.write(1, va, id=1)]
        await env.done(inv)
        await env.finish()
        hits += [a.txn is not None for a in accs]
    assert any(hits) and not all(hits)
    await env.end()


@cocotb.test(**T)
async def test_faults_of_one_hash(dut):
    """Pages whose faults share a list: accesses still merge, and a fault that closes leaves the others."""
    env = await attached(dut)
    # Bits 0 and 30 of the page number fold onto each other, for 32 and for 64 lists.
    pages = [(x << 30 | x) * PAGE for x in range(8)]
    first = [env.read(1, va, id=i) for i, va in enumerate(pages)]
    await env.until(lambda: len(env.faults) == 8, 300)
    again = [env.write(1, va + 64, id=i) for i, va in enumerate(pages)]
    await env.cycles(100)
    assert len(env.faults) == 8
    recs = list(env.faults)
    # The newest, the oldest, and some from the middle.
    for rec in (recs[i] for i in (7, 3, 0, 6, 1, 2, 5, 4)):
        k = pages.index(rec["va"])
        env.fill(1, pages[k], PA + k * PAGE)
        env.respond(rec)
        await env.finish(first[k], again[k], limit=200)
        for i, va in enumerate(pages):
            if again[i].t_done < 0:
                env.read(1, va + 128, id=40 + i)
        await env.cycles(60)
        assert len(env.faults) == 8, "an open fault was not found"
    await env.finish()
    await env.end()


@cocotb.test(**T)
async def test_more_accesses_in_flight_than_the_tracker_holds(dut):
    env = await attached(dut)
    env.fill(1, VA, PA)
    await env.sync()
    env.mem.hold = lambda txn: True
    accs = [env.read(1, VA + 64 * (i % 64), id=i % 64) for i in range(150)]
    accs += [env.write(1, VA + 64 * (i % 64), id=i % 64) for i in range(150)]
    await env.cycles(400)
    inv = env.invalidate(1, VA)
    await env.never(lambda: inv.event, 100, "completed")
    env.mem.hold = lambda txn: False
    Host(env)
    await env.done(inv)
    await env.finish()
    await env.end()


@cocotb.test(**T)
@cocotb.parametrize(kind=["read", "write"])
async def test_responses_of_an_id_in_a_row(dut, kind):
    """Responses of one ID in consecutive cycles, while another access stays in flight."""
    env = await attached(dut)
    env.fill(1, VA, PA)
    env.fill(1, VA + PAGE, PA + PAGE)
    await env.sync()
    call = getattr(env, kind)
    env.mem.hold = lambda txn: True
    call(1, VA + PAGE, id=9)
    for round_ in range(6):
        env.mem.hold = lambda txn: True
        accs = [call(1, VA + 64 * i, id=3) for i in range(8)]
        await env.until(lambda accs=accs: all(a.txn for a in accs), 60)
        inv = env.invalidate(1, VA)
        await env.never(lambda inv=inv: inv.event, 100, "completed with accesses in flight")
        env.mem.hold = lambda txn: txn.id == 9
        await env.done(inv, limit=100)
        env.fill(1, VA, PA + (round_ + 2) * PAGE)
        await env.sync()
        await env.finish(*(call(1, VA + 64 * i, id=3) for i in range(8)))
    env.mem.hold = lambda txn: False
    await env.end()


@cocotb.test(**T)
async def test_access_behind_a_foreign_one_ends_though_its_pasid_is_attached_again(dut):
    """ID order keeps the access of a detached PASID; it ends all the same when that is attached again."""
    env = await attached(dut, 1, 2)
    for round_ in range(3):
        va = VA + round_ * 16 * PAGE
        lead = [env.read(1, va + PAGE, id=5), env.write(1, va + PAGE, id=5)]
        await env.until(lambda r=round_: len(env.faults) == 1 + 2 * r, 100)
        first = [env.read(1, va, id=5), env.write(1, va, id=5)]
        second = [call(2, va + i * PAGE, id=5) for i in range(6) for call in (env.read, env.write)]
        await env.cycles(120)
        env.fill(1, va + PAGE, PA + round_ * 16 * PAGE)
        env.respond(next(r for r in env.faults if r["pasid"] == 1 and r["va"] == va + PAGE))
        await env.finish(*lead)
        await env.cycles(60)
        await env.done(env.detach(2), limit=2000)
        assert all(a.t_done < 0 for a in first + second)
        env.attach(2)
        env.fill(2, va, PA + 0x100_0000, npages=6)
        await env.sync()
        env.fill(1, va, PA + (round_ * 16 + 1) * PAGE)
        env.respond(next(r for r in env.faults if r["pasid"] == 1 and r["va"] == va))
        await env.finish()
        assert all(a.resp == DECERR for a in second) and all(a.resp == OKAY for a in first)
        await env.done(env.invalidate_pasid(2))
        env.faults[:] = [{"pasid": 0, "va": 0}] * (2 * round_ + 2)
    await env.end()


@cocotb.test(**T)
async def test_many_long_parked_bursts(dut):
    env = await attached(dut)
    Host(env, delay=(2500, 3000))
    beats = min(256, PAGE // env.bus_bytes)
    for i in range(48):
        env.write(1, VA + i * PAGE, id=i % 5, beats=1 if i % 3 else beats)
    await env.finish(limit=60000)
    for i in range(14):
        env.write(1, VA + (100 + i) * PAGE, id=i % 5, beats=beats)
    await env.finish(limit=60000)
    await env.end()


@cocotb.test(**T)
@cocotb.parametrize(end=["detach", "answer"])
async def test_a_record_is_posted_once_while_accesses_are_named(dut, end):
    """Another PASID's access misses while the many that wait for one fault are woken or ended."""
    env = await attached(dut, 1, 2)
    for d in range(24):
        page = VA + d * 16 * PAGE
        n = len(env.faults)
        waiting = [env.read(1, page + i * 64, id=i) for i in range(min(24, env.park - 4))]
        await env.until(lambda n=n: len(env.faults) > n, 200)
        await env.cycles(100)
        cmd = env.respond(env.faults[n], Code.FAILURE) if end == "answer" else env.detach(1)
        # A detach visits the rows of the cache first.
        await env.cycles(4 + 2 * d + (env.sets if end == "detach" else 0))
        other = [env.read(2, page + i * PAGE, id=40 + i) for i in range(1, 4)]
        await env.until(lambda n=n: len(env.faults) > n + 3, 400)
        if end == "detach":
            await env.done(cmd, limit=3000)
        await env.finish(*waiting)
        await env.cycles(60)
        records = env.faults[n + 1 :]
        assert [rec["pasid"] for rec in records] == [2] * 3 and len({rec["va"] for rec in records}) == 3
        for rec in records:
            env.respond(rec, Code.FAILURE)
        await env.finish(*other)
        env.attach(1)
        await env.sync()
    await env.end()


@cocotb.test(**T)
async def test_identifiers_of_records_that_never_left_are_given_back_once(dut):
    """A detach forgets faults whose records still wait; each identifier is used once at a time afterwards."""
    env = await attached(dut, 1, 2)
    env.p_fault = 0
    await env.cycles(2)
    n = env.mshrs // 4
    first = env.read(2, VA - PAGE, id=50)
    await env.cycles(20)
    parked = [env.read(1, VA + i * PAGE, id=i) for i in range(n)]
    await env.cycles(6 * n)
    await env.done(env.detach(1), limit=2000)
    await env.finish(*parked)
    env.p_fault = 1
    await env.until(lambda: env.faults, 60)
    env.fill(2, VA - PAGE, PA - PAGE)
    env.respond(env.faults.pop())
    await env.finish(first)
    for round_ in range(2):
        accs = [env.read(2, VA + (64 * round_ + i) * PAGE, id=i) for i in range(env.mshrs + 4)]
        await env.until(lambda r=round_: len(env.faults) == (r + 1) * env.mshrs + 4 * r, 600)
        await env.cycles(60)
        recs = env.faults[round_ * (env.mshrs + 4) :]
        assert len({r["fault"] for r in recs}) == len(recs) == env.mshrs, "an identifier names two faults"
        for rec in list(recs):
            env.fill(2, rec["va"], PA + rec["va"] - VA)
            env.respond(rec)
        await env.until(lambda r=round_: len(env.faults) == (r + 1) * (env.mshrs + 4), 600)
        for rec in env.faults[-4:]:
            env.fill(2, rec["va"], PA + rec["va"] - VA)
            env.respond(rec)
        await env.finish(*accs)
    await env.end()


@cocotb.test(**T)
@cocotb.parametrize(kind=["read", "write"])
async def test_detach_completes_after_its_parked_accesses_have_ended(dut, kind):
    env = await attached(dut, 1)
    beats = 16 if kind == "read" else 4
    parked = [getattr(env, kind)(1, VA + i // 2 * PAGE, id=i % 8, beats=beats) for i in range(32)]
    await env.until(lambda: len(env.faults) == 16, 400)
    await env.cycles(60)
    env.p_rready = env.p_bready = 0.1
    cmd = env.detach(1)
    await env.done(cmd, limit=20000)
    late = [p for p in parked if p.t_done < 0]
    assert len(late) <= 4, f"{len(late)} parked accesses had not ended"
    await env.finish(limit=20000)
    assert all(p.resp == DECERR for p in parked)
    await env.end()
