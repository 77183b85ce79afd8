"""Hits: latency, rate, page sizes, tags, permission, replacement, attributes, data, malformed accesses."""

from __future__ import annotations

import cocotb
from cocotb.triggers import gather

from sw_model.device_interface import Code, Size
from tb.env_core import DECERR, OKAY, PA, PAGE, PAGE_BYTES, RW, VA, CoreEnv, Host, R, W, mapped

T = {"timeout_time": 400, "timeout_unit": "us"}


@cocotb.test(**T)
@cocotb.parametrize(kind=["read", "write"], size=[Size.P4K, Size.P2M, Size.P1G])
async def test_hit_leaves_within_4_cycles(dut, kind, size):
    env = await CoreEnv.make(dut)
    env.attach(1)
    va = VA & ~((1 << 30) - 1)
    env.fill(1, va, 0x8000_0000, size=size)
    await env.sync()
    worst = 0
    for i in range(8):
        access = getattr(env, kind)(1, va + i * 64, id=i)
        await env.finish(access)
        worst = max(worst, access.latency)
        await env.cycles(i % 3)
    assert worst <= 4, f"hit latency {worst}"
    await env.end()


@cocotb.test(**T)
async def test_one_read_and_one_write_per_cycle_for_1000_hits(dut):
    env = await mapped(dut)
    n, ids = 1000, 1 << min(env.id_w, 4)
    reads = [env.read(1, VA + (i % 16) * PAGE + i % 64 * env.bus_bytes, id=i % ids) for i in range(n)]
    writes = [env.write(1, VA + (i * 7 % 16) * PAGE + i % 64 * env.bus_bytes, id=i % ids) for i in range(n)]
    await env.finish(limit=4 * n)
    for name, accs in (("read", reads), ("write", writes)):
        taken = accs[-1].t_acc - accs[0].t_acc
        left = accs[-1].txn.t_valid - accs[0].txn.t_valid
        worst = max(a.latency for a in accs)
        assert taken <= n + 2, f"{n} {name}s accepted in {taken} cycles"
        assert left <= n + 2, f"{n} {name}s left in {left} cycles"
        assert worst <= 4, f"{name} hit latency {worst} at full rate"
    overlap = min(reads[-1].t_acc, writes[-1].t_acc) - max(reads[0].t_acc, writes[0].t_acc)
    assert overlap > n - 50, "reads and writes did not run at the same time"
    c = await env.counters("READS", "WRITES", "READ_HITS", "WRITE_HITS", "READ_MISSES", "FAULTS", "ERRORS")
    assert list(c.values()) == [n, n, n, n, 0, 0, 0], c
    await env.end()


@cocotb.test(**T)
async def test_replacement_uses_every_way(dut):
    env = await CoreEnv.make(dut)
    env.attach(1)
    host = Host(env)
    host.code = lambda rec: Code.FAILURE
    stride = env.sets * PAGE
    ways = env.ways
    first = [VA + i * stride for i in range(ways)]
    for i, va in enumerate(first):
        env.fill(1, va, PA + i * PAGE)
    await env.sync()
    probes = [env.read(1, va, id=i) for i, va in enumerate(first)]
    await env.finish()
    assert all(p.resp == OKAY for p in probes), "as many pages as ways do not fit one set"
    later = [VA + (ways + i) * stride for i in range(3 * ways)]
    for i, va in enumerate(later):
        env.fill(1, va, PA + (ways + i) * PAGE)
    await env.sync()
    probes = [env.read(1, va, id=i % 8) for i, va in enumerate(first + later)]
    await env.finish()
    resident = [i for i, p in enumerate(probes) if p.resp == OKAY]
    assert len(resident) == ways, f"{len(resident)} of {ways} ways hold a page after {3 * ways} fills"
    assert min(resident) >= ways, f"pages {resident} are resident: the oldest fills are never replaced"
    assert len(probes) - 1 in resident, "the latest fill is not resident"
    assert await env.counter("EVICTIONS") == 3 * ways
    await env.end()


@cocotb.test(**T)
async def test_replacement_keeps_a_page_in_use(dut):
    env = await CoreEnv.make(dut)
    env.attach(1)
    host = Host(env)
    host.code = lambda rec: Code.FAILURE
    stride = env.sets * PAGE
    for i in range(env.ways):
        env.fill(1, VA + i * stride, PA + i * PAGE)
    await env.sync()
    for i in range(2 * env.ways):
        hot = env.read(1, VA + stride, id=1)
        await env.finish(hot)
        assert hot.resp == OKAY, f"the page in use was replaced by fill {i}"
        env.fill(1, VA + (env.ways + i) * stride, PA + (env.ways + i) * PAGE)
        await env.sync()
    await env.end()


@cocotb.test(**T)
async def test_filling_a_page_again_replaces_its_own_entry(dut):
    env = await CoreEnv.make(dut)
    env.attach(1)
    host = Host(env)
    host.code = lambda rec: Code.FAILURE
    stride = env.sets * PAGE
    for i in range(env.ways):
        env.fill(1, VA + i * stride, PA + i * PAGE)
    for perm in (R, RW, W, RW):
        env.fill(1, VA, PA, perm)
    await env.sync()
    for i in range(env.ways):
        env.read(1, VA + i * stride, id=i)
    env.write(1, VA, id=0)
    await env.finish()
    assert not env.faults, "a neighbour was evicted by filling the same page again"
    env.invalidate(1, VA)
    await env.sync()
    again = env.read(1, VA)
    await env.finish(again)
    assert again.resp == DECERR, "a second copy of the page survived its invalidation"
    await env.end()


@cocotb.test(**T)
async def test_tag_tells_every_address_bit(dut):
    env = await CoreEnv.make(dut)
    env.attach(1)
    host = Host(env)
    host.code = lambda rec: Code.FAILURE
    for size, low in ((Size.P4K, 12), (Size.P2M, 21), (Size.P1G, 30)):
        va = 0x2AAA_8000_0000 + (int(size) << 40)
        env.fill(1, va, 0x40_0000_0000, size=size)
        await env.sync()
        inside = [env.read(1, va + (1 << b), id=b) for b in range(6, low)]
        outside = [env.read(1, va ^ (1 << b), id=b - low) for b in range(low, 48)]
        await env.finish()
        assert all(a.resp == OKAY for a in inside), f"size {size}: an address inside the page missed"
        assert all(a.resp == DECERR for a in outside), f"size {size}: an address outside the page hit"
        env.invalidate_all()
    await env.sync()
    await env.end()


@cocotb.test(**T)
async def test_tag_tells_every_pasid_bit(dut):
    env = await CoreEnv.make(dut)
    host = Host(env)
    host.code = lambda rec: Code.FAILURE
    base = 0x5A5A5
    for bits in (range(10), range(10, 20)):
        others = [base ^ (1 << b) for b in bits]
        env.attach(base, *others)
        for size, va in ((Size.P4K, VA), (Size.P2M, 0x4000_0000), (Size.P1G, 0x1_8000_0000)):
            env.fill(base, va, 0x1_0000_0000, size=size)
            await env.sync()
            own = env.read(base, va, id=20)
            reads = [env.read(p, va, id=i) for i, p in enumerate(others)]
            writes = [env.write(p, va, id=i) for i, p in enumerate(others)]
            await env.finish()
            assert own.resp == OKAY
            assert all(a.resp == DECERR for a in reads + writes), "another PASID's translation was used"
        for p in others:
            env.detach(p)
        await env.sync(limit=10_000)
    await env.end()


@cocotb.test(**T)
@cocotb.parametrize(size=[Size.P4K, Size.P2M, Size.P1G])
async def test_a_pasid_that_is_not_attached_uses_nobodys_translation(dut, size):
    """The first entry of the attach table is in use; no other is, or ever was, or one was.

    A row is chosen by page XOR PASID: the page that a stranger would find there is another one.
    """
    env = await CoreEnv.make(dut)
    va = 0x40_0000_0000
    env.attach(7)
    env.fill(7, va, 0x80_0000_0000, size=size)
    await env.sync()
    for i in range(2):
        strangers = []
        for pasid in (0, 8):
            for page in (0, (7 ^ pasid) & 1, (7 ^ pasid) & 3, 7 ^ pasid):
                there = va ^ page * PAGE_BYTES[size]
                strangers += [env.read(pasid, there, id=page), env.write(pasid, there, id=page)]
        own = [env.read(7, va, id=20), env.write(7, va, id=20)]
        await env.finish()
        assert all(a.resp == DECERR for a in strangers) and all(a.resp == OKAY for a in own)
        if i == 0:
            env.attach(8)
            env.fill(8, va, 0xC0_0000_0000, size=size)
            await env.sync()
            await env.finish(env.read(8, va, id=1))
            await env.done(env.detach(8), limit=2000)
    await env.end()


@cocotb.test(**T)
async def test_same_page_of_two_pasids_goes_to_two_frames(dut):
    env = await CoreEnv.make(dut)
    env.attach(1, 2)
    env.fill(1, VA, PA)
    env.fill(2, VA, PA + PAGE)
    await env.sync()
    one = [env.write(1, VA + 64 * i, id=0) for i in range(4)]
    two = [env.write(2, VA + 64 * i, id=1) for i in range(4)]
    await env.finish()
    back1 = [env.read(1, a.va, id=2) for a in one]
    back2 = [env.read(2, a.va, id=3) for a in two]
    await env.finish()
    assert [b.rdata[0] for b in back1] == [a.wdata[0][0] for a in one]
    assert [b.rdata[0] for b in back2] == [a.wdata[0][0] for a in two]
    await env.end()


@cocotb.test(**T)
async def test_read_only_page_lets_reads_hit_and_writes_fault(dut):
    env = await CoreEnv.make(dut)
    env.attach(1)
    for perm, good, bad, bit in ((R, "read", "write", W), (W, "write", "read", R)):
        for size, va in ((Size.P4K, VA), (Size.P2M, 0x4000_0000), (Size.P1G, 0x1_8000_0000)):
            env.fill(1, va, 0x1_0000_0000, perm, size)
            await env.sync()
            ok = getattr(env, good)(1, va)
            await env.finish(ok)
            n = len(env.faults)
            no = getattr(env, bad)(1, va, id=1)
            await env.until(lambda n=n: len(env.faults) > n, 100, "the fault")
            await env.never(lambda no=no: no.txn, 50, "access without permission left")
            assert env.faults[-1]["access"] & bit
            env.respond(env.faults[-1], Code.INVALID)
            await env.finish(no)
            assert no.resp == 2
            env.invalidate_all()
            await env.sync()
    await env.end()


@cocotb.test(**T)
async def test_fill_of_a_run_maps_every_page(dut):
    env = await CoreEnv.make(dut)
    env.attach(1)
    env.fill(1, VA, PA, npages=64)
    env.fill(1, 0x4000_0000, 0x2_0000_0000, size=Size.P2M, npages=4)
    await env.sync()
    for i in range(64):
        env.read(1, VA + i * PAGE + 8 * i // env.bus_bytes * env.bus_bytes, id=i % 8)
    for i in range(4):
        env.write(1, 0x4000_0000 + (i << 21) + 0x12_3000, id=i)
    await env.finish()
    assert not env.faults
    assert await env.counter("FILLS") == 68
    edge = env.read(1, VA + 64 * PAGE)
    await env.until(lambda: env.faults, 100, "the page after the run must fault")
    env.respond(env.faults[0], Code.FAILURE)
    await env.finish(edge)
    await env.end()


@cocotb.test(**T)
async def test_attributes_pass_unchanged(dut):
    env = await mapped(dut, lat=(1, 5))
    rng = env.rng
    for i in range(120):
        size = rng.randint(0, env.size)
        nb = 1 << size
        burst = rng.choice((0, 1, 2))
        beats = rng.choice((2, 4, 8, 16)) if burst == 2 else rng.randint(1, 16)
        span = PAGE - nb * beats if burst == 1 else PAGE - nb
        off = rng.randint(0, span // nb) * nb
        call = env.read if rng.random() < 0.5 else env.write
        call(
            1,
            VA + rng.randrange(16) * PAGE + off,
            id=rng.randrange(1 << env.id_w),
            beats=beats,
            req=rng.randrange(256),
            size=size,
            burst=burst,
            lock=rng.randrange(2),
            cache=rng.randrange(16),
            prot=rng.randrange(8),
            qos=rng.randrange(16),
        )
        if i % 20 == 19:
            await env.finish()
    await env.end()


@cocotb.test(**T)
async def test_fixed_and_wrap_bursts_at_the_page_end_do_not_cross(dut):
    env = await mapped(dut)
    nb = env.bus_bytes
    accs = [
        env.read(1, VA + PAGE - nb, id=0, beats=16, burst=0),
        env.write(1, VA + PAGE - nb, id=1, beats=16, burst=0),
        env.read(1, VA + PAGE - nb, id=2, beats=4, burst=2),
        env.write(1, VA + PAGE - nb, id=3, beats=4, burst=2),
        env.read(1, VA + PAGE - 1, id=4, beats=1),
        env.read(1, VA + PAGE - 4 * nb + 1, id=5, beats=4),
        env.write(1, VA, id=6, beats=min(256, PAGE // nb)),
        env.read(1, VA, id=7, beats=min(256, PAGE // nb)),
    ]
    await env.finish()
    assert all(a.resp == OKAY for a in accs), [a for a in accs if a.resp != OKAY]
    await env.end()


@cocotb.test(**T)
async def test_axi_master_copies_memory(dut):
    """Bulk data with cocotbext-axi's own master, which splits and checks by itself."""
    env = await CoreEnv.make(dut, axi=True, lat=(1, 20), reorder=True)
    env.attach(7)
    Host(env, delay=(1, 40))
    user = 3 << 20 | 7
    rng = env.rng
    blocks = [(VA + i * 0x3000 + rng.randrange(4096), rng.randbytes(rng.randint(1, 3000))) for i in range(12)]
    await gather(
        *(env.axi.write(va, data, awid=i % 4, user=user) for i, (va, data) in enumerate(blocks)),
    )
    back = await gather(
        *(env.axi.read(va, len(data), arid=i % 4, user=user) for i, (va, data) in enumerate(blocks)),
    )
    for (va, data), got in zip(blocks, back, strict=True):
        assert bytes(got.data) == data, f"data at {va:x}"
    await env.end()


@cocotb.test(**T)
async def test_back_pressure_on_every_channel_loses_nothing(dut):
    env = await mapped(dut, lat=(0, 30), reorder=True, interleave=True, p_ar=0.4, p_aw=0.4, p_w=0.5)
    env.p_rready = env.p_bready = 0.4
    rng = env.rng
    accs = []
    for _ in range(250):
        call = env.read if rng.random() < 0.5 else env.write
        beats = rng.choice((1, 1, 2, 4, 8))
        off = rng.randrange(PAGE // env.bus_bytes - 8) * env.bus_bytes
        accs.append(call(1, VA + rng.randrange(16) * PAGE + off, id=rng.randrange(8), beats=beats))
    await env.finish(limit=20000)
    assert all(a.resp == OKAY for a in accs)
    await env.end()


@cocotb.test(**T)
@cocotb.parametrize(mode=["aw_waits_w", "w_waits_aw"])
async def test_write_address_and_data_do_not_wait_for_each_other(dut, mode):
    env = await mapped(dut, **{mode: True})
    for i in range(20):
        env.write(1, VA + i * 64, id=i % 4, beats=1 + i % 3)
    await env.finish()
    # Data before its address, and an address long before its data.
    env.aw_src.pause = True
    early = env.write(1, VA, beats=4)
    await env.cycles(30)
    env.aw_src.pause = False
    await env.finish(early)
    if mode == "w_waits_aw":
        late = env.write(1, VA, beats=4, send_data=False)
        await env.cycles(40)
        read = env.read(1, VA + 64, id=1)
        await env.finish(read)
        env.send_data(late)
        await env.finish(late)
    await env.end()


@cocotb.test(**T)
async def test_bus_errors_pass_to_their_access_alone(dut):
    env = await mapped(dut)
    env.mem.error = lambda txn: 2 if txn.addr & 0xFFF == 0x100 else 3 if txn.addr & 0xFFF == 0x200 else 0
    bad = [env.read(1, VA + 0x100, beats=3), env.write(1, VA + 0x200, id=1, beats=2)]
    good = [env.read(1, VA + 0x300), env.write(1, VA + 0x300, id=1)]
    await env.finish()
    assert [a.resp for a in bad + good] == [2, 3, 0, 0]
    await env.end()


@cocotb.test(**T)
async def test_malformed_accesses_end_with_decerr_and_never_reach_the_bus(dut):
    env = await mapped(dut)
    nb = env.bus_bytes
    cross = PAGE - 2 * nb
    bad = []
    for call in (env.read, env.write):
        bad += [
            call(1, VA + cross, id=0, beats=4),
            call(1, VA + PAGE - 1, id=1, beats=2),
            call(1, (1 << 48) + VA, id=2),
            call(1, (1 << 63) + VA, id=3, beats=3),
            call(1, (1 << 48), id=4),
            call(2, VA, id=5, beats=2),
            call(0x80001, VA, id=6),
        ]
        good = [call(1, VA, id=i) for i in range(7)]
        await env.finish()
        assert all(a.resp == DECERR and a.txn is None for a in bad)
        assert all(a.resp == OKAY for a in good)
    assert not env.faults
    assert await env.counter("ERRORS") == len(bad)
    await env.end()


@cocotb.test(**T)
async def test_enable_holds_new_accesses_at_the_port(dut):
    env = await mapped(dut)
    dut.cfg_enable.value = 0
    await env.cycles(5)
    accs = [env.read(1, VA), env.write(1, VA, id=1)]
    await env.never(lambda: any(a.txn for a in accs), 50, "an access passed while disabled")
    dut.cfg_enable.value = 1
    await env.finish()
    await env.end()
