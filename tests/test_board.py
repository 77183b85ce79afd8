"""The board's scenarios over the functional model, over the VFIO transport and over the RTL; the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sw_model import board, vfio
from sw_model.device_interface import Reg
from sw_model.func_device import FuncDevice
from sw_model.mm import MmStruct
from sw_model.scenarios import SCENARIOS, Failed, Plan, Rig, chosen
from sw_model.sched import RandomStrategy, Scheduler
from tb import runner
from tb.oracle import Oracle
from tb.world import World
from tests.fake_vfio import BDF, FakeKernel, FuncCard

ALL = [*SCENARIOS, "bench"]


def over(dev: FuncDevice, plan: Plan, seed: int = 1, rounds: int = 2, mirror: str = "interval") -> Rig:
    """Run a plan on a functional device."""
    rig = Rig(dev, Scheduler(RandomStrategy(seed)), seed, rounds=rounds, mirror=mirror)
    rig.sched.spawn(dev.run_thread(), "device", daemon=True)
    rig.run(plan.run, dev.idle)
    return rig


def device(seed: int = 1, **sizes: int) -> FuncDevice:
    """A functional device with 16 MiB of host memory."""
    return FuncDevice(np.zeros(16 << 20, np.uint8), seed, **sizes)


@pytest.mark.parametrize("seed,mirror", [(1, "interval"), (2, "mirror")])
def test_every_scenario_over_a_small_functional_device(seed: int, mirror: str) -> None:
    plan = Plan(chosen([]))
    rig = over(device(seed, mshrs=4, park=8, capacity=16), plan, seed, mirror=mirror)
    assert plan.ok and [r.name for r in plan.results] == ALL
    by_name = {r.name: r.figures for r in plan.results}
    assert by_name["munmap"]["writes"] and by_name["munmap"]["errors"] and by_name["mprotect"]["errors"]
    assert by_name["share"] == {"compare-and-swap": "done"}
    assert by_name["processes"]["errors"] and by_name["mix"]["operations"] == 4 * 8 * 2
    assert rig.driver.stats["invalidations"] > 50


def test_every_scenario_over_the_vfio_transport() -> None:
    plan = Plan(chosen([]))
    kernel = FakeKernel(FuncCard())
    with vfio.VfioDevice(BDF, 16 << 20, kernel) as device:  # type: ignore[arg-type]
        transport = vfio.VfioTransport(device)
        rig = Rig(transport, Scheduler(RandomStrategy(1), kernel), 1)
        rig.run(plan.run, transport.idle)
    assert plan.ok and len(plan.results) == len(ALL)
    assert all(transport.irq_count[:3]) and not transport.irq_count[3]


@pytest.mark.parametrize("names", [["munmap", "mix"], ["probe", "fork", "bench"]])
def test_scenarios_over_the_rtl_under_the_oracle(names: list[str]) -> None:
    plan = Plan(chosen(names))
    with World(seed=3, mem_bytes=16 << 20, strategy=RandomStrategy(3, 0.1)) as world:
        rig = Rig(world.transport, world.sched, 3)
        oracle = Oracle(bus_base=world.bus_base, now=lambda: world.cycle)
        oracle.watch(rig.phys)
        attach = rig.driver.attach

        async def bind(mm: MmStruct, pasid: int | None = None) -> int:
            pasid = next(p for p in range(1, 16) if p not in rig.driver.attachments)
            oracle.bind(pasid, mm.mm_id)
            return await attach(mm, pasid)

        async def main(rig: Rig) -> None:
            for name, (base, log2) in {**rig.driver.rings, **rig.engine.rings}.items():
                oracle.set_ring(name, base, log2)
            await plan.run(rig)

        rig.driver.attach = bind  # type: ignore[method-assign]
        world.on_logs = oracle.feed
        rig.spawn(main)
        world.run_plain(max_cycles=20_000_000)
        verdict = oracle.finish(pending=world.stats()["outstanding"])
    assert verdict.ok, str(verdict)
    assert plan.ok and rig.counters["READS"] and rig.counters["INVALIDATIONS"]
    assert not rig.counters["COMMAND_ERRORS"]
    if "bench" in names:
        figures = plan.results[-1].figures
        assert figures["hit_64B_cycles"] < figures["fault_cycles"]
        assert figures["read_4096B_bytes_per_cycle"] > figures["read_64B_bytes_per_cycle"] > 0


def test_scenarios_over_pcie() -> None:
    """By TLPs through the endpoint, with the host behind an IOMMU: what a card will be asked."""
    env = {**runner.PCIE_ENV, "SVM_BOARD": "share,munmap"}
    parameters = {"DATA_W": 128, **runner.PCIE_PARAMETERS}
    runner.run("tb.cocotb_pcie_board", parameters=parameters, env=env, bench=runner.FPGA).check()


# ---- what must be seen -------------------------------------------------------------------------------------


def _forget_drops(dev: FuncDevice) -> None:
    """The device keeps every translation."""
    dev._drop = lambda *a: None  # type: ignore[method-assign]


def _no_drain(dev: FuncDevice) -> None:
    """The device completes without waiting for accesses in flight, which take long."""
    drop, steps = dev._drop, dev.steps
    dev._drop = lambda pasid, first, last, wait: drop(pasid, first, last, set())  # type: ignore[method-assign]

    def slow() -> list[Any]:
        all_ = steps()
        quick = [s for s in all_ if s[0] != "respond"]
        return quick if quick and dev.rng.random() < 0.95 else all_

    dev.steps = slow  # type: ignore[method-assign]


def _one_address_space(dev: FuncDevice) -> None:
    """The device forgets which PASID an access has."""
    lookup = dev._do_lookup

    def blind(a: Any) -> None:
        hits = [t for t in dev.tlb if t.vpn <= a.vpn < t.vpn + t.npages]
        if hits and hits[0].perm & a.kind:
            a.pasid = hits[0].pasid
        lookup(a)

    dev._do_lookup = blind  # type: ignore[method-assign]


CHANGES = "munmap", "dontneed", "mprotect", "fork", "reclaim"
BROKEN = [
    *((name, _forget_drops) for name in (*CHANGES, "mix")),
    *((name, _no_drain) for name in CHANGES),
    ("processes", _one_address_space),
]


@pytest.mark.parametrize("name,breaks", BROKEN, ids=[f"{n}-{b.__name__[1:]}" for n, b in BROKEN])
def test_a_broken_device_is_seen(name: str, breaks: Callable[[FuncDevice], None]) -> None:
    """Each scenario fails on a device that breaks what the scenario is about."""
    dev = device(3)
    breaks(dev)
    with pytest.raises(Failed):
        over(dev, Plan(chosen([name])), 3, rounds=20)


# ---- the command -------------------------------------------------------------------------------------------


def test_the_command_over_the_functional_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.json"
    args = ["--functional", "--rounds", "1", "--seed", "7", "--memory", "16", "--json", str(out)]
    assert board.main([*args, "--scenario", "share", "--scenario", "bench"]) == 0
    text = capsys.readouterr().out
    assert "ok     share" in text and "ok: 2 of 2 scenarios" in text and "seed 7" in text
    report = json.loads(out.read_text())
    assert report["ok"] and report["seed"] == 7 and report["driver"]["faults"]
    assert [r["name"] for r in report["scenarios"]] == ["share", "bench"]
    assert report["scenarios"][1]["figures"]["fault_cycles"] > 0


def test_the_command_on_a_card(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command line as for a real card, with the kernel's double."""
    monkeypatch.setattr(board, "Kernel", lambda: FakeKernel(FuncCard()))
    args = ["--bdf", BDF, "--rounds", "1", "--memory", "16"]
    assert board.main([*args, "--scenario", "faults"]) == 0
    assert f"ok: 1 of 1 scenarios on {BDF}" in capsys.readouterr().out


def test_the_command_fails_with_the_scenario(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    class Broken(FuncDevice):
        def _read(self, offset: int) -> int:
            return 0 if offset == Reg.DONE_HOLDOFF else super()._read(offset)

    monkeypatch.setattr(board, "FuncDevice", Broken)
    args = ["--functional", "--memory", "16", "--rounds", "1", "--json", str(tmp_path / "r")]
    assert board.main(args) == 1
    text = capsys.readouterr().out
    assert "FAILED probe: DONE_HOLDOFF reads 0x0 after 0xa55a was written" in text
    assert f"FAILED: 0 of {len(ALL)} scenarios" in text
    assert not json.loads((tmp_path / "r").read_text())["ok"]


@pytest.mark.parametrize(
    "fault,status,text",
    [("id", 2, "has ID 8086:1533"), ("gone", 2, "the card is gone"), ("irq", 1, "no interrupt for 30 s")],
)
def test_the_command_without_a_usable_card(
    fault: str, status: int, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, and an exit status that tells a bad card from a failed scenario."""
    kernel = FakeKernel(FuncCard())
    if fault == "id":
        kernel.id = {"vendor": "0x8086", "device": "0x1533"}
    elif fault == "gone":
        kernel.gone = True
    else:
        kernel.card.step = lambda: False  # type: ignore[method-assign]
    monkeypatch.setattr(board, "Kernel", lambda: kernel)
    assert board.main(["--bdf", BDF, "--memory", "16", "--rounds", "1"]) == status
    got = capsys.readouterr()
    assert text in (got.err if status == 2 else got.out) and "Traceback" not in got.err + got.out
    assert len(got.err.splitlines()) == (status == 2)


def test_an_interrupted_run_ends_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel = FakeKernel(FuncCard())

    def interrupt(fds: Any, ns: int) -> list[int]:
        raise KeyboardInterrupt

    kernel.wait = interrupt  # type: ignore[method-assign]
    monkeypatch.setattr(board, "Kernel", lambda: kernel)
    assert board.main(["--bdf", BDF, "--memory", "16"]) == 1
    assert ": interrupted\n" in capsys.readouterr().out
    assert not kernel.fds and not kernel.mapped


def test_list_and_wrong_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert board.main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert [line.split()[0] for line in listed.splitlines()] == ALL
    for args in (["--functional", "--scenario", "nothing"], [], ["--functional", "--rounds", "0"]):
        with pytest.raises(SystemExit) as e:
            board.main(args)
        assert e.value.code == 2
