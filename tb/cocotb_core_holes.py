"""The nine correctness holes reproduced in other device MMUs, each as a test that this one passes."""

from __future__ import annotations

import cocotb

from sw_model.device_interface import Code, Size
from tb.env_core import DECERR, OKAY, PA, PAGE, VA, CoreEnv, Host

T = {"timeout_time": 400, "timeout_unit": "us"}


@cocotb.test(**T)
async def test_hole_1_stale_fill_after_invalidate(dut):
    """A translation taken before an invalidation and posted before it never hits after its completion."""
    env = await CoreEnv.make(dut)
    env.attach(1)
    for kind in ("read", "write"):
        n = len(env.faults)
        parked = getattr(env, kind)(1, VA, id=1)
        await env.until(lambda n=n: len(env.faults) > n, 100)
        env.fill(1, VA, PA)  # the old translation, on its way when the page is invalidated
        inv = env.invalidate(1, VA)
        await env.done(inv, env.fence())
        later = getattr(env, kind)(1, VA, id=2)
        await env.never(lambda later=later: later.txn, 60, "an access hit the stale fill")
        assert parked.txn is None
        env.respond(env.faults[-1])
        await env.until(lambda n=n: len(env.faults) > n + 1, 100, "both look up again and fault again")
        assert parked.txn is None and later.txn is None
        env.fill(1, VA, PA + PAGE)
        env.respond(env.faults[-1])
        await env.finish()
        assert parked.txn.addr >> 12 == later.txn.addr >> 12 == (PA >> 12) + 1
        await env.done(env.invalidate(1, VA))
    await env.end()


@cocotb.test(**T)
async def test_hole_2_fence_does_not_drain(dut):
    env = await CoreEnv.make(dut)
    env.attach(1)
    env.fill(1, VA, PA)
    await env.sync()
    env.mem.hold = lambda txn: True
    accs = [env.read(1, VA), env.write(1, VA)]
    await env.until(lambda: all(a.txn for a in accs), 60)
    env.invalidate(1, VA, complete=False)
    fence = env.fence()
    await env.never(lambda: fence.event, 300, "the fence completed while translated accesses are outstanding")
    env.mem.hold = lambda txn: txn.kind == 1
    await env.finish(accs[1])
    await env.never(lambda: fence.event, 60, "the fence completed while a translated read is outstanding")
    env.mem.hold = lambda txn: False
    await env.done(fence)
    assert fence.t_event > max(a.txn.t_done for a in accs)
    await env.end()


@cocotb.test(**T)
async def test_hole_3_answer_computed_before_the_invalidate_is_not_cached(dut):
    """A fault outstanding across an invalidation is answered after it: nothing is cached by the answer."""
    env = await CoreEnv.make(dut)
    env.attach(1)
    acc = env.read(1, VA)
    await env.until(lambda: env.faults, 60)
    await env.done(env.invalidate(1, VA))
    env.respond(env.faults[0])
    await env.until(lambda: len(env.faults) == 2, 60, "the access looks up again and faults again")
    env.respond(env.faults[1], Code.FAILURE)
    await env.finish(acc)
    assert acc.resp == DECERR
    second = env.read(1, VA)
    await env.until(lambda: len(env.faults) == 3, 60, "the second access must ask the host")
    env.respond(env.faults[2], Code.FAILURE)
    await env.finish(second)
    await env.end()


@cocotb.test(**T)
async def test_hole_4_drain_check_misses_a_sub_range(dut):
    """64 KiB in flight inside a 2-MiB page; 4 KiB at offset 8 KiB is invalidated."""
    env = await CoreEnv.make(dut)
    env.attach(1)
    base = 0x4000_0000
    env.fill(1, base, 0x8000_0000, size=Size.P2M)
    await env.sync()
    for kind in ("read", "write"):
        env.mem.hold = lambda txn: True
        beats = min(64, PAGE // env.bus_bytes)
        accs = [getattr(env, kind)(1, base + i * PAGE, id=i, beats=beats) for i in range(16)]
        await env.until(lambda accs=accs: all(a.txn for a in accs), 2000)
        inv = env.invalidate(1, base + 0x2000)
        for order in ((2,), (0, 1), tuple(range(3, 16))):
            await env.never(lambda inv=inv: inv.event, 60, "completed with the 2-MiB page in use")
            env.mem.hold = lambda txn, order=order: txn.id not in order
            await env.finish(*(accs[i] for i in order))
        await env.done(inv)
        env.mem.hold = lambda txn: False
        env.fill(1, base, 0x9000_0000 if kind == "read" else 0xA000_0000, size=Size.P2M)
        await env.sync()
    await env.end()


@cocotb.test(**T)
async def test_hole_5_replacement_degenerates(dut):
    """Six pages of one set, round and round: no page stays for ever, none is stuck in one way."""
    env = await CoreEnv.make(dut)
    env.attach(1)
    host = Host(env)
    stride = env.sets * PAGE
    pages = [VA + i * stride for i in range(env.ways + 2)]
    missed = dict.fromkeys(pages, 0)
    for round_ in range(6):
        for va in pages:
            n = len(host.served)
            await env.finish(env.read(1, va))
            if round_:
                missed[va] += len(host.served) - n
    assert all(missed.values()), f"misses by page {list(missed.values())}: a page is never replaced"
    # Each of the newest `ways` pages is still there: every way holds one.
    await env.finish(*(env.read(1, va) for va in pages[2:]))
    n = len(host.served)
    await env.finish(*(env.read(1, va, id=i) for i, va in enumerate(pages[2:])))
    assert len(host.served) == n, "fewer pages than ways are resident"
    await env.end()


@cocotb.test(**T)
async def test_hole_6_head_of_line_blocking(dut):
    """One faulting thread, in both directions, and another goes on at full speed."""
    env = await CoreEnv.make(dut)
    env.attach(1, 2)
    env.fill(2, VA, PA)
    await env.sync()
    stuck = [env.read(1, VA, id=0), env.write(1, VA, id=0, beats=4), env.read(1, VA + PAGE, id=1)]
    await env.until(lambda: len(env.faults) == 2, 100)
    reads = [env.read(2, VA + i % 64 * 32, id=8) for i in range(100)]
    writes = [env.write(2, VA + i % 64 * 32, id=8) for i in range(100)]
    await env.finish(*reads, *writes, limit=400)
    for accs in (reads, writes):
        assert accs[-1].t_acc - accs[0].t_acc <= 104
        assert max(a.latency for a in accs) <= 6
    assert all(s.t_done < 0 for s in stuck)
    for rec in env.faults[:2]:
        env.fill(1, rec["va"], PA + 0x10_0000 + rec["va"] - VA)
        env.respond(rec)
    await env.finish()
    await env.end()


@cocotb.test(**T)
async def test_hole_7_page_crossing_burst_translated_once(dut):
    env = await CoreEnv.make(dut)
    env.attach(1)
    env.fill(1, VA, PA)
    env.fill(1, VA + PAGE, PA + 0x10_0000)
    await env.sync()
    nb = env.bus_bytes
    for off, beats in ((0x1000 - 2 * nb, 3), (0x1000 - nb, 2), (0x1000 - nb + 1, 2), (0xF80, 0x80 // nb + 1)):
        accs = [env.read(1, VA + off, id=1, beats=beats), env.write(1, VA + off, id=1, beats=beats)]
        await env.finish()
        assert all(a.resp == DECERR and a.txn is None for a in accs), f"offset {off:x}"
        whole = [env.read(1, VA + off, id=1, beats=beats - 1), env.write(1, VA + off, id=1, beats=beats - 1)]
        await env.finish()
        assert all(a.resp == OKAY for a in whole), f"offset {off:x} does not cross"
    await env.end()


@cocotb.test(**T)
async def test_hole_8_range_invalidate_blocks_all_traffic(dut):
    """An unrelated hit right after the command is answered as fast as ever, whatever the range."""
    env = await CoreEnv.make(dut)
    env.attach(1, 2)
    env.fill(2, VA, PA)
    await env.sync()
    for n in (1, 16, 256, 1024):
        inv = env.invalidate(1, VA, n)
        await env.until(lambda inv=inv: inv.t_acc > 0, 400)
        worst = 0
        while inv.event is None:
            pair = [env.read(2, VA, id=1), env.write(2, VA, id=1)]
            await env.finish(*pair)
            worst = max(worst, *(a.latency + a.t_acc - a.t_valid for a in pair))
        assert worst <= 8, f"N={n}: an unrelated hit took {worst} cycles"
    assert not env.faults
    await env.end()


@cocotb.test(**T)
async def test_hole_9_page_invalidate_keeps_the_set_and_drops_no_fill(dut):
    env = await CoreEnv.make(dut)
    env.attach(1)
    stride = env.sets * PAGE
    pages = [VA + i * stride for i in range(env.ways)]
    env.on_fault = lambda rec: env.respond(rec, Code.FAILURE)
    for gap in range(10):
        for i, va in enumerate(pages):
            env.fill(1, va, PA + i * PAGE)
        await env.sync()
        # Fills of the same set and of others, right behind the invalidation and while it works.
        inv = env.invalidate(1, pages[0])
        await env.until(lambda inv=inv: inv.t_acc > 0, 60)
        await env.cycles(gap)
        env.fill(1, pages[0], PA + 50 * PAGE)
        env.fill(1, VA + PAGE, PA + 51 * PAGE, npages=4)
        await env.sync()
        probes = [env.read(1, va, id=i) for i, va in enumerate(pages)]
        probes += [env.read(1, VA + PAGE + i * PAGE, id=i) for i in range(4)]
        await env.finish()
        assert all(p.resp == OKAY for p in probes), f"gap {gap}: {[p.resp for p in probes]}"
        assert probes[0].txn.addr >> 12 == (PA >> 12) + 50
        await env.done(env.invalidate_all())
    await env.end()
