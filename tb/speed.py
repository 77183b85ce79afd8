"""Simulation speed: one workload, faults answered from a table, by raw C++, by the library and under cocotb.

`compare()` runs all three and returns their figures; the raw program is tb/harness/raw_main.cpp, whose host
does what TableHost does here.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw_model import device_interface as dev
from sw_model.device_interface import Reg
from sw_model.rings import COUNT_MASK, Consumer, Producer, place_ring
from sw_model.sched import sleep
from tb import build
from tb.sim import EV_LOG, NS_PER_CYCLE, HarnessConfig
from tb.trace import Kind, Trace
from tb.world import World

BUS_BASE = 0x8000_0000
MEM_BYTES = 64 << 20
FRAMES_AT = 1 << 20  # byte offset of the first data frame
POLL_CYCLES = 2000
ATTACH_POLL_CYCLES = 200
# The settings of svm_defaults() with the random events of HarnessConfig.
CONFIG = HarnessConfig()
# Word 0 of the commands that the host writes; plain integers, for speed at one fault a batch.
_FILL = int(dev.Op.FILL)
_SUCCESS = int(dev.Op.RESPOND) | int(dev.Code.SUCCESS) << 56
_INVALID = int(dev.Op.RESPOND) | int(dev.Code.INVALID) << 56
MAP_DTYPE = np.dtype([("pasid", "<u8"), ("va", "<u8"), ("bus", "<u8"), ("perm", "<u8")])


def make_work(
    n: int, seed: int = 1, pages: int = 512, pasids: int = 2, longest: int = 256
) -> tuple[NDArray[np.uint64], NDArray]:
    """`n` random descriptors over `pages` pages of each PASID, and the map that answers their faults.

    Three quarters of the accesses go to an eighth of the pages. Descriptors (n, 4), map MAP_DTYPE.
    """
    rng = np.random.default_rng(seed)
    base = 0x7F00_0000_0000
    hot = rng.random(n) < 0.75
    page = np.where(hot, rng.integers(0, max(1, pages // 8), n), rng.integers(0, pages, n))
    length = np.minimum(rng.integers(1, longest // 8 + 1, n) * 8, 4096)
    offset = rng.integers(0, (4096 - length) // 64 + 1) * 64
    kind = rng.random(n)
    ops = dev.Work
    op = np.where(kind < 0.6, ops.READ, ops.FILL)
    pasid = rng.integers(1, pasids + 1, n)
    work = dev.WORK.pack(
        op=op.astype(np.uint64),
        flags=np.full(n, dev.Flag.COMPLETE, np.uint64),
        pasid=pasid.astype(np.uint64),
        len=length.astype(np.uint64),
        requester=(page % 4).astype(np.uint64),
        va=(base + page * 4096 + offset).astype(np.uint64),
        data=np.where(op == ops.READ, 0, rng.integers(0, 1 << 62, n)).astype(np.uint64),
    )
    table = np.zeros(pages * pasids, MAP_DTYPE)
    table["pasid"] = np.repeat(np.arange(1, pasids + 1), pages)
    table["va"] = np.tile(base + np.arange(pages) * 4096, pasids)
    table["bus"] = BUS_BASE + FRAMES_AT + np.arange(pages * pasids) * 4096
    table["perm"] = 3
    return work, table


class TableHost:
    """Kernel threads that feed work and answer faults from a table, as raw_main.cpp does."""

    def __init__(self, world: World, work: NDArray[np.uint64], table: NDArray) -> None:
        self.t = world.transport
        self.world = world
        self.work = work
        self.table = {(int(r["pasid"]), int(r["va"])): (int(r["bus"]), int(r["perm"])) for r in table}
        m = world.memory
        self.cmd = Producer(m, 0x0, 10)
        self.fault = Consumer(m, 0x10000, 8)
        self.event = Consumer(m, 0x20000, 10)
        self.queue = Producer(m, 0x40000, 12)
        self.done = Consumer(m, 0x80000, 12)
        self.faults = 0
        self.failed = 0
        self.finished = 0
        world.spawn(self.main(), "table-host")

    async def main(self) -> None:
        """Sets the device up, then feeds it and takes completions."""
        t = self.t
        for name, ring in (
            ("CMD", self.cmd),
            ("FAULT", self.fault),
            ("EVENT", self.event),
            ("WORK", self.queue),
            ("DONE", self.done),
        ):
            await place_ring(t, name, t.bus_base + ring.offset, ring.log2)
            await t.write_reg(Reg[f"{name}_CTRL"], 1)
        await t.write_reg(Reg.IRQ_ENABLE, 1 << dev.IRQ_FAULT | 1 << dev.IRQ_ERROR)
        await t.write_reg(Reg.CTRL, 1)
        await t.write_reg(Reg.ENGINE_CTRL, 1)
        pasids = dev.WORK.get(self.work, "pasid")
        pasids = pasids[np.sort(np.unique(pasids, return_index=True)[1])]
        flags = np.zeros(len(pasids), np.uint64)
        flags[-1] = dev.Flag.COMPLETE
        self.cmd.post(dev.CMD.pack(op=int(dev.Op.ATTACH), pasid=pasids, flags=flags))
        await t.write_reg(Reg.CMD_TAIL, self.cmd.tail)
        while not len(self.event.harvest()):
            await sleep(ATTACH_POLL_CYCLES * NS_PER_CYCLE)
        await t.write_reg(Reg.EVENT_HEAD, self.event.head)
        self.world.spawn(self.service(), "faults", daemon=True)
        sent = await self.feed(0)
        while self.finished < len(self.work):
            await sleep(POLL_CYCLES * NS_PER_CYCLE)
            rows = self.done.harvest()
            if len(rows):
                self.finished += len(rows)
                self.failed += int(np.count_nonzero(dev.DONE.get(rows, "status")))
                await t.write_reg(Reg.DONE_HEAD, self.done.head)
            sent = await self.feed(sent)

    async def feed(self, sent: int) -> int:
        """Posts as many descriptors as fit; a descriptor whose completion is there has left the ring."""
        self.queue.head = self.finished & COUNT_MASK
        n = min(self.queue.free, len(self.work) - sent)
        if n:
            self.queue.post(self.work[sent : sent + n])
            await self.t.write_reg(Reg.WORK_TAIL, self.queue.tail)
        return sent + n

    async def service(self) -> None:
        """Answers fault records, a batch at each interrupt."""
        while True:
            await self.t.wait_irq(dev.IRQ_FAULT)
            out = []
            for w0, va, w2, _ in self.fault.harvest().tolist():
                pasid = w0 & 0xFFFFF
                bus, perm = self.table.get((pasid, va), (0, 0))
                ok = not (w0 >> 20 & 3) & ~perm
                if ok:
                    out.append((_FILL | pasid << 32 | perm << 54, va, bus, 1))
                answer = _SUCCESS if ok else _INVALID
                out.append((answer | pasid << 32, 0, 0, (w2 & 0xFFFF_FFFF) | (w0 >> 32 & 0xFF) << 32))
                self.faults += 1
            if not out:
                continue
            self.cmd.head = (self.cmd.tail - 1) & COUNT_MASK  # answers never fill this ring
            self.cmd.post(np.array(out, np.uint64))
            await self.t.write_reg(Reg.FAULT_HEAD, self.fault.head)
            await self.t.write_reg(Reg.CMD_TAIL, self.cmd.tail)


class Stopwatch:
    """Wall and CPU seconds since it was made; on a busy machine only CPU seconds compare."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Wall and CPU seconds."""
        return time.perf_counter() - self.wall, time.process_time() - self.cpu


def figures(world: World, host: TableHost, watch: Stopwatch) -> dict[str, Any]:
    """What raw_main.cpp prints, of a finished run."""
    seconds, cpu = watch.read()
    s = world.stats()
    return {
        "cycles": s["cycle"],
        "seconds": seconds,
        "cpu_seconds": cpu,
        "cycles_per_second": s["cycle"] / seconds,
        "accesses": s["reads"] + s["writes"],
        "faults": host.faults,
        "failed": host.failed,
        "attention": s["attention"],
    }


def new_world(seed: int, data_w: int) -> World:
    """The world of the comparison: its log is dropped, as the raw program drops it."""
    w = World(seed=seed, config=CONFIG, data_w=data_w, mem_bytes=MEM_BYTES, bus_base=BUS_BASE)
    w.on_wake = lambda events: w.harness.drop_logs() if events & EV_LOG else None
    return w


def run_library(work: NDArray[np.uint64], table: NDArray, seed: int = 1, data_w: int = 128) -> dict[str, Any]:
    """Through ctypes, Python owns time."""
    with new_world(seed, data_w) as w:
        host = TableHost(w, work, table)
        watch = Stopwatch()
        w.run_plain()
        return figures(w, host, watch)


def run_raw(work: NDArray[np.uint64], table: NDArray, seed: int = 1, data_w: int = 128) -> dict[str, Any]:
    """C++ alone."""
    d = _write(work, table)
    c = CONFIG
    cmd = [
        str(build.raw_main(build.Design(data_w=data_w))),
        "--work",
        str(d / "work.bin"),
        "--map",
        str(d / "map.bin"),
    ]
    cmd += ["--seed", str(seed), "--mem-base", hex(BUS_BASE), "--mem-bytes", str(MEM_BYTES)]
    cmd += ["--p-stall", str(c.p_stall), "--p-bubble", str(c.p_bubble), "--p-slow", str(c.p_slow)]
    p = subprocess.run(cmd, capture_output=True, text=True)
    if p.returncode:
        raise build.BuildError(f"svm_raw: {p.stderr or p.stdout}")
    return json.loads(p.stdout)


def run_cocotb(work: NDArray[np.uint64], table: NDArray, seed: int = 1, data_w: int = 128) -> dict[str, Any]:
    """Attached to the Verilator executable."""
    d = _write(work, table)
    result = d / "cocotb.json"
    build.run_cocotb(
        "tb.cocotb_speed",
        "verilator",
        data_w=data_w,
        seed=seed,
        waves=False,
        quiet=True,
        extra_env={"SVM_SPEED_DIR": str(d), "SVM_RESULT": str(result)},
    )
    return json.loads(result.read_text())


def _write(work: NDArray[np.uint64], table: NDArray) -> Path:
    d = build.BUILD / "speed" / str(os.getpid())
    d.mkdir(parents=True, exist_ok=True)
    work.tofile(d / "work.bin")
    table.tofile(d / "map.bin")
    return d


def trace_work(path: Path, limit: int = 60000) -> tuple[NDArray[np.uint64], NDArray]:
    """Descriptors of a recording's first accesses, and the map that answers their faults.

    Every load becomes a READ and every store a FILL of one process. Raises TraceError.
    """
    acc = Trace(path).accesses()[:limit]
    va = acc["addr"].astype(np.uint64)
    pages = np.unique(np.concatenate([va >> 12, (va + acc["size"] - 1) >> 12]))
    write = acc["kind"] != Kind.LOAD
    work = dev.WORK.pack(
        op=np.where(write, int(dev.Work.FILL), int(dev.Work.READ)).astype(np.uint64),
        flags=int(dev.Flag.COMPLETE),
        pasid=np.ones(len(acc), np.uint64),
        len=acc["size"].astype(np.uint64),
        va=va,
        data=np.where(write, va ^ np.uint64(0x5A5A), 0).astype(np.uint64),
    )
    table = np.zeros(len(pages), MAP_DTYPE)
    table["pasid"], table["va"], table["perm"] = 1, pages << 12, 3
    table["bus"] = BUS_BASE + FRAMES_AT + np.arange(len(pages)) * 4096
    return work, table


def storm_work(n: int = 8000, seed: int = 1) -> tuple[NDArray[np.uint64], NDArray]:
    """Reads of 8 bytes, each in another page than the last ones: nearly every access faults."""
    pages = 8192
    order = np.random.default_rng(seed).permutation(pages)
    va = 0x7F00_0000_0000 + order[np.arange(n) % pages].astype(np.uint64) * np.uint64(4096)
    work = dev.WORK.pack(op=int(dev.Work.READ), flags=int(dev.Flag.COMPLETE), pasid=1, len=8, va=va)
    table = np.zeros(pages, MAP_DTYPE)
    table["pasid"], table["va"], table["perm"] = 1, 0x7F00_0000_0000 + np.arange(pages) * 4096, 3
    table["bus"] = BUS_BASE + FRAMES_AT + np.arange(pages) * 4096
    return work, table


def compare(
    work: NDArray[np.uint64], table: NDArray, seed: int = 1, data_w: int = 128, repeat: int = 3
) -> dict[str, dict[str, Any]]:
    """The best of `repeat` interleaved runs of each flavour on one workload, by name.

    All flavours must agree on cycles, or their speeds would not compare: AssertionError.
    """
    best: dict[str, dict[str, Any]] = {}
    for _ in range(repeat):
        for name, f in (("raw C++", run_raw), ("library", run_library), ("cocotb", run_cocotb)):
            r = f(work, table, seed, data_w)
            if name not in best or r["cpu_seconds"] < best[name]["cpu_seconds"]:
                best[name] = r
    assert len({r["cycles"] for r in best.values()}) == 1, best
    return best
