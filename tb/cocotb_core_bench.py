"""Measurements of dmmu_core, written as JSON to the file named by CORE_BENCH."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cocotb

from sw_model.device_interface import Code
from tb.env_core import PA, PAGE, VA, CoreEnv


async def hits(env: CoreEnv, out: dict[str, Any]) -> None:
    """Hit latency of a lone access, and the rate of 1000 reads beside 1000 writes."""
    lone = []
    for i in range(16):
        pair = [env.read(1, VA + i * PAGE, id=1), env.write(1, VA + i * PAGE, id=1)]
        await env.finish(*pair)
        lone += [a.latency for a in pair]
    out["hit latency, cycles"] = max(lone)
    n = 1000
    both = [
        [env.read(1, VA + i % 16 * PAGE, id=i % 16) for i in range(n)],
        [env.write(1, VA + i % 16 * PAGE, id=i % 16) for i in range(n)],
    ]
    await env.finish(limit=5 * n)
    for name, accs in zip(("reads", "writes"), both, strict=True):
        out[f"{name} translated per cycle"] = round((n - 1) / (accs[-1].t_acc - accs[0].t_acc), 3)


async def faults(env: CoreEnv, out: dict[str, Any]) -> None:
    """Miss to record, answer to access, coalescing, outstanding faults."""
    miss, answer = [], []
    for i in range(16):
        call = env.read if i % 2 else env.write
        n = len(env.faults)
        acc = call(1, VA + (1000 + i) * PAGE, id=i)
        await env.until(lambda n=n: len(env.faults) > n, 100)
        await env.cycles(10)
        env.fill(1, VA + (1000 + i) * PAGE, PA + (1000 + i) * PAGE)
        cmd = env.respond(env.faults[-1])
        await env.finish(acc)
        miss.append(env.faults[-1]["since"] - acc.t_acc)
        answer.append(acc.txn.t_valid - cmd.t_acc)
    out["miss to fault record, cycles"] = max(miss)
    out["answer to access, cycles"] = max(answer)
    n = len(env.faults)
    accs = [env.read(1, VA + 2000 * PAGE + 32 * i, id=i % 64) for i in range(env.park)]
    await env.until(lambda: accs[-1].t_acc > 0, 1000)
    await env.cycles(6 * env.park)
    out[f"faults of {env.park} requests to a page"] = len(env.faults) - n
    env.respond(env.faults[-1], Code.FAILURE)
    await env.finish()
    n = len(env.faults)
    for i in range(env.park):
        env.read(1, VA + (3000 + i) * PAGE, id=i % 64)
    await env.cycles(400)
    out["faults outstanding at the host"] = len(env.faults) - n
    env.on_fault = lambda rec: env.respond(rec, Code.FAILURE)
    for rec in env.faults[n:]:
        env.respond(rec, Code.FAILURE)
    await env.finish(limit=5000)
    env.on_fault = None


async def invalidations(env: CoreEnv, out: dict[str, Any]) -> None:
    """Cost of N pages idle and under load, and the lookup rate meanwhile."""
    for n in (1, 16, 256, 1024):
        await env.cycles(300)
        idle = env.invalidate(1, VA + (1 << 30), n)
        after = env.fence()
        await env.done(idle, after)
        out[f"invalidate {n} pages, effect to completion"] = idle.event["cycle"] - idle.effect
        out[f"invalidate {n} pages, command to next command"] = after.t_acc - idle.t_acc
        out[f"invalidate {n} pages, command to event"] = idle.t_event_valid - idle.t_acc
        m = 800
        reads = [env.read(1, VA + i % 16 * PAGE, id=i % 32) for i in range(m)]
        writes = [env.write(1, VA + i % 16 * PAGE, id=i % 32) for i in range(m)]
        await env.cycles(60)
        inv = env.invalidate(1, VA + (1 << 30), n)
        after = env.fence()
        await env.done(inv, after)
        await env.finish(limit=10 * m)
        lo, hi = inv.t_acc, max(inv.t_event_valid, after.t_acc, inv.t_acc + 8)
        for name, accs in (("read", reads), ("write", writes)):
            rate = sum(lo < a.t_acc <= hi for a in accs) / (hi - lo)
            out[f"{name} lookups per cycle while {n} pages are invalidated"] = round(rate, 2)
    cmds = [env.invalidate(1, VA + (i + 5000) * PAGE, complete=i == 255) for i in range(256)]
    await env.done(cmds[-1])
    out["page invalidations back to back, cycles each"] = round((cmds[-1].effect - cmds[0].t_acc) / 255, 2)
    everything = env.invalidate_pasid(1)
    await env.done(everything)
    out["invalidate a PASID, command to event"] = everything.t_event_valid - everything.t_acc


async def drains(env: CoreEnv, out: dict[str, Any]) -> None:
    """Last response to completion, with one and with many accesses in flight; others meanwhile."""
    for n in (1, 32):
        env.mem.hold = lambda txn: txn.acc.va < VA + PAGE
        accs = [env.read(1, VA + 32 * i, id=i) for i in range(n)]
        await env.until(lambda accs=accs: all(a.txn for a in accs), 200)
        inv = env.invalidate(1, VA)
        t0 = env.t()
        other = [env.read(1, VA + PAGE, id=40) for _ in range(100)]
        await env.finish(*other)
        rate = 99 / (other[-1].t_acc - other[0].t_acc)
        out[f"other lookups per cycle while {n} accesses drain"] = round(rate, 2)
        assert inv.event is None and env.t() > t0
        env.mem.hold = lambda txn: False
        await env.done(inv)
        out[f"last of {n} responses to completion, cycles"] = inv.t_event_valid - max(
            a.txn.t_done for a in accs
        )
        env.fill(1, VA, PA)
        await env.sync()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def test_measure(dut):
    env = await CoreEnv.make(dut)
    env.attach(1)
    env.fill(1, VA, PA, npages=16)
    await env.sync()
    out: dict[str, Any] = {}
    start = env.t()
    fills = env.fill(1, VA + 512 * PAGE, PA + 512 * PAGE, npages=128, complete=True)
    await env.done(fills)
    out["cycles per page of a fill run"] = round((fills.t_event_valid - fills.t_acc) / 128, 2)
    for part in (hits, faults, drains, invalidations):
        await part(env, out)
    out["cycles simulated"] = env.t() - start
    path = os.environ.get("CORE_BENCH")
    if path:
        Path(path).write_text(json.dumps(out, indent=1))
    for key, value in out.items():
        env.log.info("%-60s %s", key, value)
    await env.end()
