"""Misses: fault records, coalescing, answers, order, isolation, detach."""

from __future__ import annotations

import cocotb

from sw_model.device_interface import Code, Op, Size
from tb.env_core import DECERR, OKAY, PA, PAGE, RW, SLVERR, VA, CoreEnv, Host, R, W, attached

T = {"timeout_time": 400, "timeout_unit": "us"}


async def faulted(env: CoreEnv, n: int = 1, limit: int = 300) -> dict[str, int]:
    """Wait until `n` fault records have come in all; the latest."""
    await env.until(lambda: len(env.faults) >= n, limit, f"fault record {n}")
    return env.faults[-1]


@cocotb.test(**T)
@cocotb.parametrize(kind=["read", "write"])
async def test_fault_leaves_within_10_cycles_of_the_miss(dut, kind):
    env = await attached(dut)
    worst = 0
    for i in range(6):
        acc = getattr(env, kind)(1, VA + i * PAGE, id=i, req=9)
        rec = await faulted(env, i + 1)
        worst = max(worst, rec["since"] - acc.t_acc)
        assert (rec["va"], rec["pasid"], rec["requester"]) == (VA + i * PAGE, 1, 9)
        assert rec["access"] & acc.kind
        assert abs(rec["cycle"] - acc.t_acc) <= 8, "CYCLE is not the cycle of the miss"
        env.respond(rec, Code.FAILURE)
        await env.finish()
    assert worst <= 10, f"miss to fault {worst} cycles"
    await env.end()


@cocotb.test(**T)
@cocotb.parametrize(kind=["read", "write"])
async def test_parked_access_leaves_within_8_cycles_of_the_answer(dut, kind):
    env = await attached(dut)
    worst = 0
    for i in range(6):
        acc = getattr(env, kind)(1, VA + i * PAGE, id=i, beats=1 + i % 2)
        rec = await faulted(env, i + 1)
        await env.cycles(20)
        env.fill(1, VA + i * PAGE, PA + i * PAGE)
        cmd = env.respond(rec)
        await env.finish()
        worst = max(worst, acc.txn.t_valid - cmd.t_acc)
    assert worst <= 8, f"answer to access {worst} cycles"
    await env.end()


@cocotb.test(**T)
async def test_at_least_32_faults_outstanding(dut):
    env = await attached(dut)
    n = env.mshrs + min(8, env.mshrs)
    accs = [env.read(1, VA + i * PAGE, id=i % (1 << env.id_w)) for i in range(n // 2)]
    accs += [env.write(1, VA + i * PAGE, id=i % (1 << env.id_w)) for i in range(n // 2, n)]
    await faulted(env, env.mshrs)
    await env.cycles(50)
    assert len(env.faults) == env.mshrs, "more records than identifiers"
    assert len({rec["fault"] for rec in env.faults}) == env.mshrs
    for rec in list(env.faults):
        env.fill(1, rec["va"], PA + rec["va"] - VA)
        env.respond(rec)
    await faulted(env, n)
    for rec in env.faults[env.mshrs :]:
        env.fill(1, rec["va"], PA + rec["va"] - VA)
        env.respond(rec)
    await env.finish()
    assert all(a.resp == OKAY for a in accs)
    await env.end()


@cocotb.test(**T)
async def test_64_requests_to_a_page_make_one_fault(dut):
    env = await attached(dut)
    n = env.park
    reads = [env.read(1, VA + 32 * i, id=i % (1 << env.id_w)) for i in range(n)]
    await env.until(lambda: reads[-1].t_acc > 0, 1000, "all reads accepted while parked")
    # The fault unit takes a miss in four cycles.
    await env.cycles(6 * n)
    assert len(env.faults) == 1, f"{len(env.faults)} records for one page"
    assert await env.counter("COALESCED") == n - 1
    writes = [env.write(1, VA + 32 * i, id=i % (1 << env.id_w)) for i in range(n)]
    await env.until(lambda: writes[-1].t_acc > 0, 1000, "all writes accepted while parked")
    await env.cycles(6 * n)
    assert len(env.faults) == 1, "writes that joined made a second record"
    env.fill(1, VA, PA)
    env.respond(env.faults[0])
    await env.finish()
    assert len(env.faults) == 1
    assert all(a.resp == OKAY for a in reads + writes)
    await env.end()


@cocotb.test(**T)
async def test_64_writes_to_a_page_make_one_fault(dut):
    env = await attached(dut)
    writes = [env.write(1, VA + 32 * i, id=i % (1 << env.id_w)) for i in range(env.park)]
    await env.until(lambda: writes[-1].t_acc > 0, 1000, "all writes accepted while parked")
    await env.cycles(6 * env.park)
    assert len(env.faults) == 1 and env.faults[0]["access"] & W
    env.fill(1, VA, PA)
    env.respond(env.faults[0])
    await env.finish()
    await env.end()


@cocotb.test(**T)
async def test_record_carries_the_strongest_access_while_it_waits(dut):
    env = await attached(dut)
    env.p_fault = 0
    await env.cycles(3)
    blockers = min(8, env.mshrs - 2)
    for i in range(blockers):
        env.read(1, VA + (100 + i) * PAGE, id=i)
    await env.cycles(40)
    n = 16
    for i in range(n):
        env.read(1, VA + 64 * i, id=16 + i)
    await env.cycles(60)
    for i in range(n):
        env.write(1, VA + 64 * i, id=16 + i)
    await env.cycles(100)
    env.p_fault = 1
    await faulted(env, blockers + 1)
    await env.cycles(40)
    mine = [rec for rec in env.faults if rec["va"] == VA]
    assert len(mine) == 1 and len(env.faults) == blockers + 1
    assert mine[0]["access"] & W, f"record asks {mine[0]['access']} though writes wait"
    for rec in env.faults:
        env.fill(1, rec["va"], PA + rec["va"] - VA)
        env.respond(rec)
    await env.finish()
    assert len(env.faults) == blockers + 1
    await env.end()


@cocotb.test(**T)
async def test_write_joining_a_sent_read_fault_faults_again(dut):
    env = await attached(dut)
    rd = env.read(1, VA)
    rec = await faulted(env)
    assert rec["access"] == R
    wr = env.write(1, VA + 64, id=1)
    await env.cycles(40)
    assert len(env.faults) == 1
    env.fill(1, VA, PA, R)
    env.respond(rec)
    await env.finish(rd)
    again = await faulted(env, 2)
    assert again["access"] & W and rd.resp == OKAY and wr.txn is None
    env.fill(1, VA, PA, RW)
    env.respond(again)
    await env.finish(wr)
    assert wr.resp == OKAY
    await env.end()


@cocotb.test(**T)
async def test_success_without_a_fill_faults_again(dut):
    env = await attached(dut)
    acc = env.read(1, VA)
    for i in range(5):
        rec = await faulted(env, i + 1)
        await env.cycles(10)
        assert len(env.faults) == i + 1 and acc.txn is None
        env.respond(rec)
    rec = await faulted(env, 6)
    env.fill(1, VA, PA)
    env.respond(rec)
    await env.finish()
    await env.end()


@cocotb.test(**T)
@cocotb.parametrize(
    code=[Code.INVALID, Code.FAILURE],
    kind=["read", "write"],
)
async def test_bad_answer_ends_only_the_accesses_it_answers(dut, code, kind):
    env = await attached(dut)
    call = getattr(env, kind)
    victims = [call(1, VA, id=1, beats=4), call(1, VA + 64, id=2), call(1, VA + 128, id=1)]
    other = call(1, VA + PAGE, id=3)
    recs = {}
    await faulted(env, 2)
    recs = {rec["va"]: rec for rec in env.faults}
    # The others of the page have joined its fault.
    await env.cycles(40)
    env.respond(recs[VA], code)
    await env.finish(*victims)
    assert all(v.resp == (SLVERR if code == Code.INVALID else DECERR) for v in victims)
    assert other.t_done < 0
    env.fill(1, VA + PAGE, PA)
    env.respond(recs[VA + PAGE])
    await env.finish(other)
    assert other.resp == OKAY
    # The page itself is not poisoned: the next access faults as if nothing had been.
    after = call(1, VA, id=1)
    rec = await faulted(env, 3)
    env.fill(1, VA, PA + PAGE)
    env.respond(rec)
    await env.finish(after)
    assert after.resp == OKAY
    assert await env.counter("ERRORS") == 3
    await env.end()


@cocotb.test(**T)
async def test_invalid_for_a_read_fault_leaves_joined_writes_to_fault(dut):
    env = await attached(dut)
    rd = env.read(1, VA)
    rec = await faulted(env)
    assert rec["access"] == R
    wr = env.write(1, VA + 64)
    await env.cycles(40)
    env.respond(rec, Code.INVALID)
    await env.finish(rd)
    assert rd.resp == SLVERR
    again = await faulted(env, 2)
    assert again["access"] & W and wr.t_done < 0
    env.fill(1, VA, PA)
    env.respond(again)
    await env.finish(wr)
    assert wr.resp == OKAY
    await env.end()


@cocotb.test(**T)
async def test_invalid_for_a_write_fault_leaves_joined_reads_to_look_up_again(dut):
    env = await attached(dut)
    wr = env.write(1, VA)
    rec = await faulted(env)
    assert rec["access"] & W
    rd = env.read(1, VA + 64)
    await env.cycles(40)
    env.fill(1, VA, PA, R)
    env.respond(rec, Code.INVALID)
    await env.finish()
    assert wr.resp == SLVERR and rd.resp == OKAY
    await env.end()


@cocotb.test(**T)
async def test_unmatched_answers_are_counted_and_ignored(dut):
    env = await attached(dut)
    acc = env.read(1, VA)
    rec = await faulted(env)
    wrong = [
        {**rec, "seq": rec["seq"] + 1},
        {**rec, "seq": rec["seq"] ^ 0x80000000},
        {**rec, "fault": rec["fault"] ^ 1},
        {**rec, "fault": rec["fault"] ^ 0x80},
    ]
    for w in wrong:
        env.respond(w, Code.FAILURE, complete=True)
    await env.sync()
    await env.never(lambda: acc.t_done >= 0, 40, "an unmatched answer ended an access")
    env.fill(1, VA, PA)
    env.respond(rec)
    env.respond(rec, Code.FAILURE)
    await env.finish()
    await env.sync()
    assert acc.resp == OKAY
    c = await env.counters("STALE_RESPONSES", "RESPONSES", "COMMAND_ERRORS")
    assert c == {"STALE_RESPONSES": 5, "RESPONSES": 1, "COMMAND_ERRORS": 0}, c
    await env.end()


@cocotb.test(**T)
async def test_hits_pass_misses_of_other_ids(dut):
    env = await attached(dut)
    env.fill(1, VA, PA)
    await env.sync()
    miss = [env.read(1, VA + PAGE, id=1), env.write(1, VA + PAGE, id=1, beats=8)]
    hits = [env.read(1, VA, id=2) for _ in range(20)] + [env.write(1, VA, id=2, beats=2) for _ in range(20)]
    await env.finish(*hits, limit=400)
    assert all(m.txn is None for m in miss)
    assert max(h.latency for h in hits[:20]) <= 6, "hits were delayed by parked misses"
    env.fill(1, VA + PAGE, PA + PAGE)
    await faulted(env)
    env.respond(env.faults[0])
    await env.finish()
    await env.end()


@cocotb.test(**T)
@cocotb.parametrize(kind=["read", "write"])
async def test_same_id_stays_in_order(dut, kind):
    env = await attached(dut, 1, 2, lat=(1, 20), reorder=True)
    env.fill(1, VA, PA, npages=4)
    await env.sync()
    call = getattr(env, kind)
    pages = [0, 9, 1, 9, 2, 10, 0, 11, 3]
    accs = [call(1, VA + p * PAGE + 64 * i, id=5, beats=1 + i % 3) for i, p in enumerate(pages)]
    accs.append(call(3, VA, id=5, beats=2))
    accs += [call(1, VA, id=5)]
    await faulted(env, 3)
    await env.cycles(60)
    assert accs[0].txn is not None
    assert all(a.txn is None for a in accs[1:]), "an access passed an older one of its ID"
    assert len(env.faults) == 3, "younger accesses of the ID must raise their faults at once"
    # Answer in reverse: order must hold all the same.
    for rec in sorted(env.faults, key=lambda r: -r["va"]):
        env.fill(1, rec["va"], PA + rec["va"] - VA)
        env.respond(rec)
        await env.cycles(30)
    await env.finish()
    issued = [a for a in accs if a.txn]
    assert [a.txn.t_acc for a in issued] == sorted(a.txn.t_acc for a in issued)
    assert [a.t_done for a in accs] == sorted(a.t_done for a in accs)
    assert accs[-2].resp == DECERR
    await env.end()


@cocotb.test(**T)
@cocotb.parametrize(kind=["read", "write"])
async def test_error_waits_for_older_responses_of_its_id(dut, kind):
    env = await attached(dut)
    env.fill(1, VA, PA)
    await env.sync()
    env.mem.hold = lambda txn: True
    call = getattr(env, kind)
    old = [call(1, VA + 64 * i, id=3, beats=2) for i in range(4)]
    bad = call(9, VA, id=3, beats=2)
    free = call(9, VA, id=4, beats=2)
    await env.finish(free, limit=200)
    await env.never(lambda: bad.t_resp >= 0, 80, "an error passed older accesses of its ID")
    env.mem.hold = lambda txn: False
    await env.finish()
    assert bad.resp == DECERR and all(o.resp == OKAY for o in old)
    await env.end()


@cocotb.test(**T)
@cocotb.parametrize(by=["pasid", "requester"])
async def test_whoever_faults_never_stalls_another(dut, by):
    env = await attached(dut, 1, 2)
    b = 2 if by == "pasid" else 1
    env.fill(b, VA, PA, npages=8)
    await env.sync()
    share = env.park // 2
    for i in range(share):
        env.read(1, VA + (64 + i) * PAGE, id=i % 16, req=0, beats=1 + i % 4)
        env.write(1, VA + (64 + i // 2) * PAGE, id=i % 16, req=0, beats=1 + i % 4)
    await env.until(lambda: len(env.accesses) == 2 * share, 800, "the share is accepted")
    await env.cycles(160)  # the fault unit takes a miss in four cycles
    n = 300
    reads = [env.read(b, VA + i % 8 * PAGE + i % 32 * 64, id=32 + i % 8, req=1) for i in range(n)]
    writes = [env.write(b, VA + i % 8 * PAGE + i % 32 * 64, id=32 + i % 8, req=1) for i in range(n)]
    await env.finish(*reads, *writes, limit=4 * n)
    for name, accs in (("reads", reads), ("writes", writes)):
        span = accs[-1].t_acc - accs[0].t_acc
        assert span <= n + 20, f"{n} {name} took {span} cycles beside {share} parked accesses"
        assert max(a.latency for a in accs) <= 8
    assert len(env.open) == 2 * share
    host = Host(env)
    for rec in list(env.faults):
        host.serve(rec)
    await env.finish(limit=6000)
    await env.end()


@cocotb.test(**T)
async def test_parked_write_data_is_replayed_unchanged(dut):
    env = await attached(dut, lat=(1, 10), reorder=True)
    Host(env, delay=(1, 120))
    rng = env.rng
    page = PAGE // env.bus_bytes
    for i in range(120):
        beats = rng.choice((1, 2, 3, 7, 8, 9, 16))
        off = rng.randrange(page - beats + 1) * env.bus_bytes
        strb = [rng.getrandbits(env.bus_bytes) for _ in range(beats)]
        env.write(1, VA + rng.randrange(40) * PAGE + off, id=rng.randrange(16), beats=beats, strb=strb)
        if i % 10 == 0:
            env.invalidate_all(complete=False)
    await env.finish(limit=20000)
    await env.end()


@cocotb.test(**T)
async def test_long_parked_bursts_do_not_deadlock(dut):
    env = await attached(dut)
    Host(env, delay=(200, 400))
    beats = min(256, PAGE // env.bus_bytes)
    for i in range(14):
        env.write(1, VA + i * PAGE, id=i % 5, beats=beats)
        env.read(1, VA + i * PAGE, id=i % 5, beats=beats)
    await env.finish(limit=60000)
    await env.end()


@cocotb.test(**T)
async def test_blocked_fault_stream_loses_nothing_and_blocks_no_command(dut):
    env = await attached(dut, 1, 2)
    env.fill(2, VA, PA)
    await env.sync()
    env.p_fault = 0
    dut.fault_ring_full.value = 1
    n = min(env.park, env.mshrs + 8)
    for i in range(n // 2):
        env.read(1, VA + i * PAGE, id=i % 32)
        env.write(1, VA + (n + i) * PAGE, id=i % 32)
    await env.cycles(150)
    assert not env.faults
    await env.finish(env.read(2, VA, id=40))
    inv = env.invalidate(2, VA)
    await env.done(inv, env.fence(), limit=300)
    await env.done(env.invalidate(1, VA, 64), env.invalidate_pasid(1), env.invalidate_all(), limit=1500)
    assert await env.counter("STALL_FAULT_RING") > 0
    Host(env)
    dut.fault_ring_full.value = 0
    env.p_fault = 1
    await env.finish(limit=8000)
    assert len({rec["va"] for rec in env.faults}) == 2 * (n // 2)
    await env.end()


@cocotb.test(**T)
async def test_more_pages_than_fault_identifiers_all_get_served(dut):
    env = await attached(dut, lat=(1, 10))
    Host(env, delay=(5, 60))
    rng = env.rng
    for i in range(200):
        (env.read if i % 2 else env.write)(1, VA + i * PAGE, id=rng.randrange(1 << env.id_w))
    await env.finish(limit=30000)
    assert len({rec["va"] for rec in env.faults}) == 200
    await env.end()


@cocotb.test(**T)
async def test_fill_in_the_cycles_around_a_miss_is_never_lost(dut):
    """A fill and its answer arrive at every distance from another access to the page."""
    env = await attached(dut, 1)
    for d in range(-12, 12):
        page = VA + (d + 20) * 0x10_0000
        n = len(env.faults)
        first = env.read(1, page, id=1)
        rec = await faulted(env, n + 1)
        await env.cycles(10)
        if d < 0:
            env.write(1, page, id=2)
            env.read(1, page, id=3)
            await env.cycles(-d)
        env.fill(1, page, PA + d * PAGE + 0x40_0000)
        env.respond(rec)
        if d >= 0:
            await env.cycles(d)
            env.write(1, page, id=2)
            env.read(1, page, id=3)
        for _ in range(400):
            await env.cycles(1)
            for extra in env.faults[n + 1 :]:
                if "answered" not in extra and extra["fault"] in env.outstanding:
                    env.respond(extra)
                    extra["answered"] = 0
            if not env.open:
                break
        assert not env.open, f"distance {d}: {env.open}"
        assert first.resp == OKAY
    await env.end()


@cocotb.test(**T)
async def test_detach_ends_parked_accesses_and_drains_the_rest(dut):
    env = await attached(dut, 1, 2)
    env.fill(1, VA, PA)
    env.fill(2, VA, PA + PAGE)
    await env.sync()
    env.mem.hold = lambda txn: txn.acc.pasid == 1
    flying = [env.read(1, VA, id=1), env.write(1, VA, id=1)]
    parked = [env.read(1, VA + PAGE, id=2, beats=3), env.write(1, VA + PAGE, id=2, beats=3)]
    parked += [env.read(1, VA + 2 * PAGE, id=1)]
    keep = [env.read(2, VA + PAGE, id=3), env.write(2, VA + PAGE, id=3)]
    await faulted(env, 3)
    await env.until(lambda: all(a.txn for a in flying), 100, "hits issued")
    cmd = env.detach(1)
    await env.finish(*parked[:2], limit=2 * env.sets + 400)
    assert all(p.resp == DECERR for p in parked[:2]), "parked accesses end although others are in flight"
    await env.never(lambda: cmd.event, 2 * env.sets + 600, "detach completed with an access in flight")
    stale = [rec for rec in env.faults if rec["pasid"] == 1]
    env.mem.hold = lambda txn: False
    await env.done(cmd)
    await env.finish(*flying, *parked)
    assert all(p.resp == DECERR for p in parked) and all(f.resp == OKAY for f in flying)
    assert all(f.t_done <= cmd.t_event + 4 for f in flying + parked), "detach completed before a response"
    late = [env.read(1, VA, id=5), env.write(1, VA, id=5)]
    await env.finish(*late)
    assert all(a.resp == DECERR for a in late)
    for rec in stale:
        env.respond(rec)
    await env.sync()
    assert await env.counter("STALE_RESPONSES") == len(stale)
    assert all(k.t_done < 0 for k in keep), "detach ended another PASID's access"
    other = next(rec for rec in env.faults if rec["pasid"] == 2)
    env.fill(2, VA + PAGE, PA + 2 * PAGE)
    env.respond(other)
    await env.finish()
    assert all(k.resp == OKAY for k in keep)
    # Attached again it starts empty.
    env.attach(1)
    n = len(env.faults)
    again = env.read(1, VA)
    await env.sync()
    if again.t_done >= 0:  # it may have come before the attach took effect
        again = env.read(1, VA)
    rec = await faulted(env, n + 1)
    env.fill(1, VA, PA)
    env.respond(rec)
    await env.finish()
    await env.end()


@cocotb.test(**T)
@cocotb.parametrize(left=[False, True])
async def test_detach_and_invalidation_never_wait_for_a_fault_of_another_pasid(dut, left):
    """An access of the PASID waits, by ID order, behind one that is parked on another PASID's fault.

    `left`: that one was not the first of its ID to be parked.
    """
    env = await attached(dut, 1, 2, 3)
    env.fill(3, VA, PA)
    await env.sync()
    ahead = [env.read(3, VA + PAGE, id=5), env.write(3, VA + PAGE, id=5)] if left else []
    first = [env.read(1, VA, id=5), env.write(1, VA, id=5)]
    second = [env.read(2, VA, id=5), env.write(2, VA, id=5)]
    await faulted(env, 3 if left else 2)
    await env.cycles(20)
    if left:
        env.fill(3, VA + PAGE, PA + PAGE)
        env.respond(next(rec for rec in env.faults if rec["pasid"] == 3))
        await env.finish(*ahead)
    cmd = env.detach(2)
    behind = env.invalidate(3, VA)
    more = [env.invalidate(3, VA + i * PAGE) for i in range(40)]
    await env.done(cmd, behind, *more, limit=2000)
    assert all(a.txn is None and a.t_done < 0 for a in first)
    env.fill(1, VA, PA)
    env.respond(next(rec for rec in env.faults if rec["pasid"] == 1))
    await env.finish()
    assert all(a.resp == DECERR for a in second) and all(a.resp == OKAY for a in first)
    await env.end()


@cocotb.test(**T)
async def test_detach_completes_while_a_foreign_access_ahead_faults_over_and_over(dut):
    """The access ahead of the same ID faults again all the time; a detach does not wait for it."""
    env = await attached(dut, 1, 2)
    kept = []

    def again(rec: dict[str, int]) -> None:
        if rec["pasid"] == 1:
            kept.append(rec)
            if len(kept) < 2000:
                env.respond(rec)

    env.on_fault = again
    first = [env.read(1, VA, id=5), env.write(1, VA, id=6)]
    for round_ in range(4):
        second = [env.read(2, VA + i * PAGE, id=5) for i in range(1, 4)]
        second += [env.write(2, VA + i * PAGE, id=6) for i in range(1, 4)]
        await env.cycles(40 + round_)
        n = len(kept)
        cmd = env.detach(2)
        await env.done(cmd, limit=4 * env.sets + 1500)
        assert all(a.t_done < 0 for a in first + second)
        await env.cycles(200)
        assert len(kept) > n, "the access ahead stopped faulting"
        env.attach(2)
        await env.sync()
    kept += [kept[-1]] * 2000
    env.fill(1, VA, PA)
    await env.cycles(100)
    for rec in list(env.outstanding.values()):
        env.respond(rec)
    await env.finish()
    assert all(a.resp == OKAY for a in first)
    await env.end()


@cocotb.test(**T)
async def test_no_fault_record_of_a_pasid_after_its_detach_completed(dut):
    env = await attached(dut, 1, 2)
    env.p_fault = 0
    await env.cycles(2)
    n = min(12, env.mshrs - 2)
    parked = [env.read(1, VA + i * PAGE, id=i) for i in range(n)]
    other = env.read(2, VA, id=40)
    await env.cycles(60)
    cmd = env.detach(1)
    await env.done(cmd, limit=2000)
    await env.finish(*parked)
    assert all(p.resp == DECERR for p in parked)
    env.p_fault = 1
    await faulted(env)  # the checker rejects a record of PASID 1
    await env.cycles(60)
    assert [rec["pasid"] for rec in env.faults] == [2]
    env.fill(2, VA, PA)
    env.respond(env.faults[0])
    await env.finish(other)
    await env.end()


@cocotb.test(**T)
async def test_detach_while_accesses_keep_coming(dut):
    env = await attached(dut, 1, 2, lat=(1, 30), reorder=True)
    host = Host(env, delay=(1, 30))
    rng = env.rng
    for round_ in range(6):
        for _ in range(60):
            p = rng.choice((1, 2))
            call = rng.choice((env.read, env.write))
            call(p, VA + rng.randrange(6) * PAGE, id=rng.randrange(8), beats=rng.choice((1, 4)))
        await env.cycles(rng.randint(5, 60))
        cmd = env.detach(1)
        await env.done(cmd, limit=6000)
        host.map = {k: v for k, v in host.map.items() if k[0] != 1}
        await env.finish(limit=6000)
        assert all(a.resp == OKAY for a in env.accesses if a.pasid == 2), f"round {round_}"
        env.attach(1)
        await env.sync()
    env.log.info("%d accesses", len(env.accesses))
    await env.end()


@cocotb.test(**T)
async def test_attach_table_holds_its_number_of_pasids(dut):
    env = await CoreEnv.make(dut)
    pasids = [i << 12 | i for i in range(1, env.pasids + 1)]
    env.attach(*pasids)
    env.attach(*pasids)
    extra = env.command(op=Op.ATTACH, pasid=0xFFFFF)
    await env.sync()
    assert [e["tag"] for e in env.errors] == [extra.f["tag"]]
    env.attached.pop(0xFFFFF)
    for p in pasids:
        env.fill(p, VA, PA)
    await env.sync()
    for i, p in enumerate(pasids):
        env.read(p, VA, id=i % 16)
    refused = env.read(0xFFFFF, VA, id=30)
    await env.finish()
    assert refused.resp == DECERR and not env.faults
    env.detach(pasids[3])
    await env.sync()
    env.attach(0xFFFFF)
    env.fill(0xFFFFF, VA, PA)
    await env.sync()
    env.read(0xFFFFF, VA)
    await env.finish()
    assert len(env.errors) == 1
    await env.end()


@cocotb.test(**T)
async def test_large_page_fill_serves_small_page_faults(dut):
    env = await attached(dut)
    n = min(8, env.mshrs)
    accs = [env.read(1, 0x4000_0000 + i * 0x1_1000, id=i) for i in range(n)]
    await faulted(env, n)
    env.fill(1, 0x4000_0000, 0x8000_0000, size=Size.P2M)
    for rec in env.faults:
        env.respond(rec)
    await env.finish()
    assert all(a.resp == OKAY for a in accs) and len(env.faults) == n
    await env.end()
