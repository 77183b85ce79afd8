"""The replay of a trace, without a simulator: the functional device, driver and mm, and planted mistakes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sw_model.device_interface import WORK, Work
from sw_model.driver import SvmDriver
from sw_model.engine import Engine
from sw_model.func_device import FuncDevice
from sw_model.mm import MmStruct
from sw_model.phys import PhysMem
from sw_model.sched import RandomStrategy, Scheduler, VirtualClock
from tb.tools import ROOT
from tb.trace import ACCESS, Call, Kind, Region, Trace, TraceError, Writer
from tb.workload import Pressure, Reference, Source, Workload, expand


def replay(
    trace: Path,
    seed: int = 1,
    pressure: str = "3",
    limit: int | None = None,
    mirror: str = "interval",
    tamper: Callable[[Workload], Any] | None = None,
    **kw: Any,
) -> tuple[Workload, SvmDriver, list[str]]:
    """Replay a trace on the functional device; the workload, its driver and what did not balance at exit."""
    memory = np.zeros(96 << 20, np.uint8)
    device = FuncDevice(memory, seed=seed)
    phys = PhysMem(memory, seed=seed)
    clock = VirtualClock()
    sched = Scheduler(RandomStrategy(seed, 0.05), clock)
    rng = random.Random(seed)
    out: list = []

    def idle(deadline: int | None) -> bool:
        """Mostly a device step; sometimes time passes, so that sleepers race the device."""
        if deadline is not None and rng.random() < 0.1:
            clock.ns = deadline
            return True
        return device.idle(deadline)

    async def main() -> None:
        drv = SvmDriver(device, phys, sched, mirror=mirror)
        await drv.probe()
        eng = Engine(device, phys, sched)
        await eng.probe()
        mm = MmStruct(phys, "replayed", thp=True)
        pasid = await drv.attach(mm)
        w = Workload(
            Trace(trace), mm, eng, pasid, sched, seed, Pressure.parse(pressure), limit, window=(16, 512), **kw
        )
        out.extend([w, drv])
        if tamper is not None:
            sched.spawn(tamper(w), "tamper", daemon=True)
        await w.run()
        await eng.stop()
        await drv.detach(pasid)
        await mm.exit()
        await drv.remove()

    sched.spawn(main(), "main")
    sched.run(idle=idle)
    return out[0], out[1], phys.check_balance()


@pytest.mark.parametrize(
    "name,seed,mirror", [("sort", 1, "interval"), ("sqlite", 2, "mirror"), ("numpy", 3, "interval")]
)
def test_recordings(name: str, seed: int, mirror: str) -> None:
    """The shipped recordings replay without a difference under pressure, and everything balances."""
    w, drv, unbalanced = replay(ROOT / "traces" / f"{name}.svmt", seed, limit=2500, mirror=mirror)
    assert w.ok, w.details
    assert not unbalanced and not drv.command_errors
    assert w.stats.accesses == 2500 and w.stats.pages_compared > 10
    assert drv.stats["faults"] > 5 and drv.stats["invalidations"] > 3
    assert w.stats.pressure.get("swap", 0) and w.stats.pressure.get("migrate", 0)


def test_same_seed_same_run() -> None:
    """A seed fixes the run, another seed changes it."""
    trace = ROOT / "traces" / "sort.svmt"
    a, b, c = (replay(trace, seed, limit=600) for seed in (5, 5, 6))
    assert a[0].stats == b[0].stats and a[1].stats == b[1].stats
    assert a[0].stats != c[0].stats


def small_trace(path: Path, calls: list[tuple[Call, tuple[int, ...], int]], n: int = 300) -> Path:
    """A trace over 4 initial pages at 0x10000, with accesses between the calls."""
    rng = np.random.default_rng(4)
    w = Writer(path)
    for call in [None, *calls]:
        if call is not None:
            w.call(*call)
        acc = np.empty(n, dtype=ACCESS)
        acc["addr"] = 0x10000 + rng.integers(0, 0x4000 - 64, n)
        acc["size"] = rng.choice([1, 4, 8, 32], n)
        acc["kind"] = rng.integers(0, 3, n)
        w.add(acc)
    w.close({"program": "x", "command": ["x"], "brk": 0x200000}, [Region(0x10000, 0x14000, 3, "segment")])
    return path


def test_planted_wrong_byte(tmp_path: Path) -> None:
    """One bit changed behind everybody's back is found by the comparison at the end."""
    trace = small_trace(tmp_path / "t.svmt", [])

    async def tamper(w: Workload) -> None:
        compare = w.compare

        async def late(*args: int) -> None:
            await w.mm.load(0x13000, 1)
            w.phys.memory[(w.mm.translate_fast(0x13000, False) << 12) + 77] ^= 4
            await compare(*args)

        w.compare = late  # type: ignore[method-assign]

    w, _, _ = replay(trace, pressure="0", tamper=tamper)
    assert not w.ok and len(w.details) == 1
    assert w.details[0].startswith("memory at 0x1304d is ")


def test_lost_device_store(tmp_path: Path) -> None:
    """A device store that never happens is found."""
    trace = small_trace(tmp_path / "t.svmt", [])

    async def tamper(w: Workload) -> None:
        submit = w.engine.submit

        async def lossy(rows: np.ndarray) -> Any:
            rows = rows.copy()
            i = int(np.flatnonzero(WORK.get(rows, "OP") == Work.WRITE)[-1])
            rows[i] = WORK.pack(op=Work.READ, pasid=w.pasid, len=1, va=int(WORK.get(rows, "VA")[i]))[0]
            return await submit(rows)

        w.engine.submit = lossy

    w, _, _ = replay(trace, pressure="0", tamper=tamper, device_share=1.0)
    assert not w.ok


def test_unusable_traces(tmp_path: Path) -> None:
    """A trace whose calls or accesses make no sense ends in TraceError that names file and place."""
    gone = small_trace(tmp_path / "gone.svmt", [(Call.MUNMAP, (0x10000, 0x4000), 0)])
    with pytest.raises(TraceError, match=r"gone\.svmt: accesses 3\d\d to .* 0x1[0-3]000 is not mapped"):
        replay(gone)
    bad = small_trace(tmp_path / "bad.svmt", [(Call.MPROTECT, (0x900000, 0x1000, 1), 0)])
    with pytest.raises(TraceError, match=r"bad\.svmt: mprotect\(0x900000"):
        replay(bad)


def test_calls(tmp_path: Path) -> None:
    """Every kind of call changes the mm and the reference alike."""
    anon = (0, 0x3000, 3, 0x22, 0xFFFFFFFF, 0)
    calls = [
        (Call.MMAP, anon, 0x40000),
        (Call.MMAP, (0, 0x2800, 3, 2, 3, 0), 0x50000),
        (Call.MMAP, (0, 0x2000, 3, 1, 3, 0), 0x58000),
        (Call.BRK, (0x203000,), 0x203000),
        (Call.MREMAP, (0x10000, 0x4000, 0x6000, 1), 0x300000),
        (Call.MREMAP, (0x300000, 0x6000, 0x4000, 1), 0x10000),
        (Call.MADVISE, (0x11000, 0x1000, 4), 0),
        (Call.MPROTECT, (0x40000, 0x1000, 1), 0),
        (Call.MUNMAP, (0x51000, 0x1000), 0),
        (Call.BRK, (0x201000,), 0x201000),
    ]
    path = tmp_path / "t.svmt"
    w = Writer(path)
    rng = np.random.default_rng(9)
    where: list[tuple[int, int]] = [(0x10000, 0x4000)]
    for call in [None, *calls]:
        if call is not None:
            w.call(*call)
        where = {
            None: where,
            0: [*where, (0x40000, 0x3000)],
            1: [*where, (0x50000, 0x3000)],
            2: [*where, (0x58000, 0x2000)],
            3: [*where, (0x200000, 0x3000)],
            4: [*where[1:], (0x300000, 0x6000)],
            5: [*where[:-1], (0x10000, 0x4000)],
            6: where,
            7: [(0x41000, 0x2000), *where[1:]],
            8: [(0x50000, 0x1000), (0x52000, 0x1000), *(r for r in where if r[0] != 0x50000)],
            9: [(0x200000, 0x1000), *(r for r in where if r[0] != 0x200000)],
        }[None if call is None else calls.index(call)]
        acc = np.empty(200, dtype=ACCESS)
        pick = rng.integers(0, len(where), 200)
        acc["addr"] = [where[i][0] + int(rng.integers(0, where[i][1] - 32)) for i in pick]
        acc["size"] = rng.choice([1, 8, 32], 200)
        acc["kind"] = rng.integers(0, 3, 200)
        w.add(acc)
    w.close({"brk": 0x200000}, [Region(0x10000, 0x14000, 3, "segment")])
    for seed in (1, 2):
        got, _, unbalanced = replay(path, seed, pressure="4")
        assert got.ok, got.details
        assert not unbalanced
        assert got.stats.calls == {"mmap": 3, "brk": 2, "mremap": 2, "madvise": 1, "mprotect": 1, "munmap": 1}


@pytest.mark.parametrize("seed", range(6))
def test_reference(seed: int) -> None:
    """The vectorised reference gives what a byte-by-byte loop gives."""
    rng = np.random.default_rng(seed)
    source = rng.bytes(0x3000)
    ref = Reference()
    ref.map(0x10000, 0x13000, Source(source, 0x10000, False, 3))
    ref.map(0x13000, 0x15000, Source(None, 0, False, 3))
    memory = bytearray(source + bytes(0x2000))
    spread = 0x5000 - 100 if seed % 2 else 80
    for _ in range(3):
        acc = np.empty(300, dtype=ACCESS)
        acc["size"] = rng.choice([1, 2, 4, 8, 16, 100], 300)
        acc["addr"] = 0x10000 + (0 if seed % 2 else 0x2FC0) + rng.integers(0, spread, 300)
        acc["kind"] = rng.integers(0, 3, 300)
        ops = expand(acc, 0, rng)
        for op, fold in zip(ops, ref.run(ops).tolist(), strict=True):
            at, n, data = int(op["addr"]) - 0x10000, int(op["size"]), int(op["data"])
            if op["store"]:
                for k in range(n):
                    memory[at + k] = data >> 8 * (k % 8) & 0xFF
            else:
                want = 0
                for k in range(n):
                    want ^= memory[at + k] << 8 * (k % 8)
                assert fold == want
    for page in range(5):
        row = ref.row_of(np.array([0x10 + page]))[0]
        assert ref.pages[row].tobytes() == bytes(memory[page * 4096 : page * 4096 + 4096])
    assert Kind.MODIFY in acc["kind"]


def test_pressure_options() -> None:
    """Levels and rates parse; nonsense is refused by name."""
    assert Pressure.parse("0") == Pressure()
    assert Pressure.parse("swap=2, migrate=0.5") == Pressure(swap=2, migrate=0.5)
    for bad in ("5", "swop=1", "swap", ""):
        with pytest.raises(ValueError, match="pressure"):
            Pressure.parse(bad)
