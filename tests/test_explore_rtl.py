"""The explorer over the Verilated device: held steps, branches by fork, the functional device as judge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sw_model.device_interface import CMD, Op, Reg
from sw_model.explore.config import configs
from sw_model.explore.runner import execute, replay
from sw_model.explore.strategies import Choices, Preempt, Random
from sw_model.rings import Producer
from tb.explore.__main__ import replay_line
from tb.explore.branch import Machine
from tb.explore.compare import Mismatch, Spec
from tb.explore.mutants import DEVICE_MUTANTS, DeviceMutant
from tb.explore.rtl_world import library, on_rtl
from tb.explore.standard import load, run_task, save, tasks
from tb.sim import HELD_REG, HELD_RING_READ, Harness, HarnessConfig

pytestmark = pytest.mark.xdist_group("explore_rtl")

CONFIG = "full_fault_x_invalidate"
CLEAN, FOLLOWED = ([name for kind, name in tasks() if kind == want] for want in ("clean", "host"))


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with Machine(CONFIG) as m:
        yield m


def test_hold() -> None:
    """A held device does nothing that its host can see before it is let, and one thing at a time."""
    memory = np.zeros(16 << 12, np.uint8)
    with Harness(memory=memory, bus_base=0, library=library(), config=HarnessConfig.preset("fast")) as h:
        h.hold()
        h.reg_write(Reg.CMD_BASE_LO, 0x1000)
        h.reg_write(Reg.CMD_SIZE, 4)
        h.settle(200)
        held = h.held()
        assert held["kind"].tolist() == [HELD_REG] and held["id"][0] == Reg.CMD_BASE_LO
        ring = Producer(memory, 0x1000, 4)
        for offset, value in ((Reg.CMD_CTRL, 1), (Reg.CTRL, 1), (Reg.CMD_TAIL, 3)):
            h.reg_write(offset, value)
        ring.post(np.concatenate([CMD.pack(op=int(Op.ATTACH), pasid=p) for p in (1, 2, 3)]))
        for _ in range(5):
            h.release(0)
            h.settle(50)
            last, held = held, h.held()
        assert last["kind"].tolist() == [HELD_REG] and held["kind"].tolist() == [HELD_RING_READ]
        for at in (0x1000, 0x1020, 0x1040):
            assert h.held()["addr"].tolist() == [at]
            h.release(0)
            h.settle(50)
        assert not len(h.held())
        h.release(0)
        assert "no entry" in h.errors()


@pytest.mark.parametrize("name", CLEAN)
def test_clean(name: str) -> None:
    """Neither the page tables nor the functional device object to what the device does."""
    with Machine(name) as m:
        f = m.walk(40 if name == "contract" else 12)
        assert f.failure is None, f"{f.failure.text} {m.label} choices {f.failure.choices}"


def test_branches_are_the_tree(machine: Machine) -> None:
    """A search with one deviation runs the first schedule and one for each other choice at its points."""

    class Count(Preempt):
        def choose(self, n: int) -> int:
            self.others = getattr(self, "others", 0) + n - 1
            return 0

        def pick(self, runnable: list[Any], last: Any) -> Any:
            ts = sorted(runnable, key=lambda t: (t is not last, t.id))
            return ts[self.choose(len(ts))]

    count = Count()
    with on_rtl():
        out = execute(configs()[CONFIG], count)
    assert out.kind is None and count.others > 20
    found = machine.search(1)
    assert found.complete and found.failure is None and found.schedules == 1 + count.others
    again = machine.search(1)
    assert (again.schedules, again.steps) == (found.schedules, found.steps)
    part = machine.search(1, 20)
    assert part.schedules == 20 and not part.complete


def test_repeats(machine: Machine) -> None:
    """A run gives the same events from its seed, from its choices, and without a fork."""
    first = machine.run(Random(5))
    for strategy in (Random(5), Choices.parse(first.choices)):
        again = machine.run(strategy)
        assert again.events == first.events and again.ids == first.ids
    with on_rtl():
        alone = execute(configs()[CONFIG], Random(5), trace=True)
    assert alone.events == first.events
    assert any("access 0x10000 respond" in text for _, text, _ in first.events)


@pytest.mark.parametrize("name", FOLLOWED)
def test_host_only_schedule_on_rtl(name: str) -> None:
    """What fails host-only fails on the RTL too, mostly by the same schedule; its line repeats it."""
    row = run_task(("host", name))
    assert row.ok
    again, _ = replay_line(row.line)
    assert (again.kind, again.text) == (row.failure, row.text)
    if row.host:
        assert again.kind == replay(row.host).kind


def _device_mutants() -> list[Any]:
    slow = ("drain_by_small_page", "waiter_old_pfn")
    return [
        pytest.param(d, id=d.name, marks=pytest.mark.mutants(short=bool(d.entries) and d.name not in slow))
        for d in DEVICE_MUTANTS
    ]


@pytest.mark.parametrize("mutant", _device_mutants())
def test_device_mutant(mutant: DeviceMutant) -> None:
    """The search finds it; its choices repeat it, and without the plant they show nothing."""
    with Machine(mutant.config, plant=mutant.plant) as m:
        f = m.walk(1500)
        assert f.failure is not None, "not found"
        assert f.failure.kind == mutant.kind
        again = m.run(Choices.parse(f.failure.choices))
        assert (again.kind, again.text) == (f.failure.kind, f.failure.text)
    with Machine(mutant.config) as m:
        assert m.run(Choices.parse(f.failure.choices)).kind is None


def test_shrunk() -> None:
    """A shrunk run is shorter and fails in the same kind."""
    with Machine("contract", plant="permission-ignored") as m:
        f = m.walk(100)
        assert f.failure is not None
        small = m.shrink(f.failure, 150)
        assert small.kind == f.failure.kind and len(small.device) < len(f.failure.device)


def test_spec_objects() -> None:
    """The judge itself: records that nothing asks for."""
    spec = Spec(np.zeros(1 << 16, np.uint8))
    for offset, value in ((Reg.FAULT_SIZE, 4), (Reg.FAULT_CTRL, 1), (Reg.EVENT_SIZE, 4), (Reg.EVENT_CTRL, 1)):
        spec.land(offset, value)
    row = np.zeros(4, np.uint64)
    for call, text in (
        (lambda: spec.fault(row), "no access waits"),
        (lambda: spec.complete(row), "no completion is due"),
        (lambda: spec.done(row), "no room"),
        (lambda: spec.issued(1, 0x1000, 1, 0x2000, 0), "no such access"),
        (lambda: spec.ended(1, 0x1000, 1, 2), "nothing asks for it"),
    ):
        with pytest.raises(Mismatch, match=text):
            call()


def test_rows(tmp_path: Path) -> None:
    """A row of the standard set, and its way through a file."""
    row = run_task(("device", "permission_upgrade"))
    assert row.ok and row.failure == "Mismatch" and row.file == "mmu/dmmu_channel.v"
    save(tmp_path / "rows.json", [row])
    assert load(tmp_path / "rows.json") == [row]


def test_what_a_line_may_not_be() -> None:
    """One line for each mistake."""
    for line, error in (
        ("rtl:full_fault_x_invalidate@nothing choices -", ValueError),
        ("rtl:fault_x_invalidate choices -", ValueError),
        ("rtl:nothing choices -", KeyError),
        ("rtl:full_fault_x_invalidate", ValueError),
    ):
        with pytest.raises(error):
            replay_line(line)
