"""The simulation harness on the stub device: memory, links, logs, and one run under every flavour."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sw_model import device_interface as dev
from sw_model.sched import sleep
from tb import build, speed
from tb.sim import EV_LIMIT, Harness, HarnessConfig, HarnessError, open_harness
from tb.world import SimHang, World
from tests.cocotb_harness import (
    BASE,
    RING,
    SET_BASE,
    SET_NUMBER,
    SET_RING,
    START,
    StubRun,
)

NUMBER = 512
SIMULATORS = [
    "verilator",
    pytest.param("icarus", marks=pytest.mark.icarus),
]


def traffic(h: Harness, base: int = BASE, number: int = NUMBER) -> tuple[np.ndarray, np.ndarray]:
    """Run the stub's traffic to its end; the logs."""
    for reg, value in ((SET_BASE, base), (SET_NUMBER, number), (SET_RING, BASE + RING), (START, 1)):
        h.reg_write(reg, value)
    done = 0
    while not done & 4:
        assert not h.run(200_000) & EV_LIMIT, h.stats()
        h.take_events()
        done |= h.take_irqs()
    return h.drain_logs()


def harness(seed: int = 1, preset: str = "stress", data_w: int = 128, **kw: object) -> Harness:
    """A harness on the stub."""
    return open_harness(
        device="stub", data_w=data_w, seed=seed, config=HarnessConfig.preset(preset), bus_base=BASE,
        mem_bytes=4 << 20, **kw,
    )  # fmt: skip


@pytest.mark.parametrize("data_w", [64, 128, 512])
def test_bytes_written_arrive(data_w: int) -> None:
    """Every write is in memory, and the log tells its bytes and its fold."""
    with harness(data_w=data_w) as h:
        accesses, _ = traffic(h)
        h.check()
        writes = accesses[accesses["write"] == 1]
        assert len(writes) == NUMBER and len(accesses) == 2 * NUMBER
        for a in writes:
            at = int(a["va"]) - BASE
            words = h.memory[at : at + int(a["nbytes"])].view("<u4")
            assert (words == at // 256).all() and a["moved"] == a["nbytes"]
            assert int(a["fold"]) == int(np.bitwise_xor.reduce(words.view("<u8")))
        assert h.data_bytes * 8 == data_w


@pytest.mark.parametrize("preset", ["fast", "default", "stress"])
def test_order(preset: str) -> None:
    """Responses pass each other between IDs, never within one."""
    with harness(preset=preset) as h:
        accesses, _ = traffic(h)
        h.check()
        for write in (0, 1):
            rows = accesses[accesses["write"] == write]
            for i in np.unique(rows["id"]):
                assert (np.diff(rows["seq"][rows["id"] == i].astype(np.int64)) > 0).all()
            if preset != "fast":
                assert (np.diff(rows["seq"].astype(np.int64)) < 0).any()
        assert (accesses["t_accept"] <= accesses["t_issue"]).all()
        assert (accesses["t_issue"] <= accesses["t_mem"]).all()
        assert (accesses["t_mem"] < accesses["t_resp"]).all()
        assert (h.stats()["bus_reordered"] > 0) == (preset != "fast")


def test_in_order_option() -> None:
    """in_order keeps the order of acceptance across IDs."""
    config = HarnessConfig.preset("stress").replace(in_order=1, p_interleave=0.0)
    with open_harness(device="stub", config=config, bus_base=BASE, mem_bytes=4 << 20) as h:
        accesses, _ = traffic(h)
        for write in (0, 1):
            assert (np.diff(accesses["seq"][accesses["write"] == write].astype(np.int64)) > 0).all()


def test_records_and_interrupts() -> None:
    """A record is in memory and in the log before the interrupt that announces it is sent."""
    with harness() as h:
        _, records = traffic(h)
        assert len(records) and (records["write"] == 1).all() and (records["resp"] == 0).all()
        assert (records["addr"] == BASE + RING + 32 * np.arange(len(records))).all()
        assert (records["data"][:, 0] == np.arange(len(records))).all()
        assert (records["data"][:, 1] < records["cycle"]).all()
        row = h.memory[RING : RING + 32 * len(records)].view("<u8").reshape(-1, 4)
        assert (row == records["data"]).all()
        assert h.stats()["irqs"] >= len(records)


def test_address_outside_memory() -> None:
    """An access outside memory gets DECERR and changes nothing."""
    with harness() as h:
        accesses, _ = traffic(h, base=BASE + (4 << 20))
        assert (
            (accesses["resp"] == 3).all()
            and (accesses["t_mem"] == 0).all()
            and (accesses["moved"] == 0).all()
        )
        assert not h.memory[:RING].any()


@pytest.mark.parametrize("preset", ["default", "stress"])
def test_seed(preset: str) -> None:
    """The same seed gives the same logs; another seed others."""
    out = []
    for seed in (7, 7, 8):
        with harness(seed, preset) as h:
            a, r = traffic(h)
            out.append(a.tobytes() + r.tobytes())
    assert out[0] == out[1] != out[2]


def test_memory_handed_in(tmp_path: Path) -> None:
    """Memory may be an array of the caller, or a file that others map."""
    own = np.zeros(4 << 20, np.uint8)
    with harness(memory=own) as h:
        traffic(h)
        assert h.memory is own
    shared = tmp_path / "memory"
    with harness(mem_file=shared) as h:
        traffic(h)
    assert (np.fromfile(shared, np.uint8) == own).all()
    with pytest.raises(HarnessError, match="4096"):
        harness(memory=np.zeros(100, np.uint8))


def test_registers_are_ordered() -> None:
    """A read returns after the writes posted before it have landed."""
    with harness() as h:
        h.reg_write(SET_NUMBER, 16)
        h.reg_write(SET_BASE, BASE)
        h.reg_write(SET_RING, BASE + RING)
        h.reg_write(START, 1)
        assert h.reg_read(0) == 0x314D5653
        assert h.stats()["reads"] + h.stats()["writes"] > 0


def test_waves(tmp_path: Path) -> None:
    """A trace build writes a VCD; another build says that it cannot."""
    vcd = tmp_path / "dump.vcd"
    with harness(waves=vcd) as h:
        traffic(h, number=16)
    assert "attention" in vcd.read_text()[:20000]
    with pytest.raises(HarnessError, match="trace"):
        Harness(waves=vcd, library=build.library(build.Design("stub")))


def test_hang_is_reported() -> None:
    """A thread that waits for an interrupt that never comes is named."""
    with World(device="stub", hang_cycles=2000) as w:
        w.spawn(w.transport.wait_irq(1), "waiter")
        with pytest.raises(SimHang, match="waiter at irq1"):
            w.run_plain()
    with World(device="stub") as w:
        w.spawn(sleep(10**9), "sleeper")
        with pytest.raises(SimHang, match="limit of 500"):
            w.run_plain(max_cycles=500)


def test_thread_error_comes_out() -> None:
    """What a thread raises ends the run."""

    async def bad() -> None:
        await sleep(100)
        raise RuntimeError("boom")

    with World(device="stub") as w:
        w.spawn(bad(), "bad")
        with pytest.raises(RuntimeError, match="boom"):
            w.run_plain()
        assert w.clock.now() in range(100, 104)


@pytest.mark.parametrize("sim", SIMULATORS)
def test_same_run_under_every_flavour(sim: str, tmp_path: Path) -> None:
    """Library, cocotb on Verilator and cocotb on Icarus see the same events at the same cycles."""
    expected = []
    for preset in ("default", "stress"):
        run = StubRun(5, preset)
        run.world.run_plain()
        expected.append(run.result())
        run.world.close()
    result = tmp_path / "result.json"
    build.run_cocotb(
        "tests.cocotb_harness", sim, device="stub", seed=5, waves=False, quiet=True, test_dir=tmp_path,
        extra_env={"SVM_RESULT": str(result)},
    )  # fmt: skip
    assert json.loads(result.read_text()) == expected


def test_device_under_a_table_host() -> None:
    """The device runs the same cycles under raw C++, the library and cocotb, and no work fails."""
    work, table = speed.make_work(400, seed=3, pages=64)
    runs = [f(work, table, 3) for f in (speed.run_raw, speed.run_library, speed.run_cocotb)]
    for r in runs:
        assert r["failed"] == 0 and r["faults"] > 0 and r["accesses"] >= 400
        assert r["cycles"] == runs[0]["cycles"] and r["faults"] == runs[0]["faults"]


def test_exclusive_access() -> None:
    """Compare-and-swap through the bus: the first of a value wins, a failed compare stores nothing."""
    _, table = speed.make_work(1, pages=1, pasids=1)
    va = int(table["va"][0])
    work = dev.WORK.pack(
        op=int(dev.Work.CAS), flags=1, pasid=1, va=np.array([va, va + 64, va + 128], np.uint64), data=5,
        src=np.array([0, 1, 0], np.uint64),
    )  # fmt: skip
    with speed.new_world(1, 128) as w:
        logs: list[np.ndarray] = []
        w.on_logs = lambda accesses, records: logs.append(accesses)
        host = speed.TableHost(w, work, table)
        w.run_plain(max_cycles=100_000)
        assert host.failed == 0
        words = w.memory[speed.FRAMES_AT : speed.FRAMES_AT + 192].view("<u8")
        assert words[[0, 8, 16]].tolist() == [5, 0, 5]
        accesses = np.concatenate(logs)
        locked = accesses[accesses["lock"] == 1]
        assert (locked["resp"] == 1).all() and (locked["write"] == 1).sum() >= 2
