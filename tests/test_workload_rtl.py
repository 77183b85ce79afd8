"""`make sim` on the RTL: verdict, report, and the same run from the same seed in every flavour."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tb import run_sim
from tb.tools import ROOT


def sim(tmp_path: Path, *args: str, status: int = 0) -> dict:
    """Run with arguments; the report."""
    assert run_sim.main(["--out", str(tmp_path), *args]) == status
    return json.loads((tmp_path / "report.json").read_text())


def test_same_run_in_every_flavour(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """cocotb and the plain library give one run, cycle for cycle; another seed gives another."""
    args = ["--trace", str(ROOT / "traces/sort.svmt"), "--limit", "1500", "--pressure", "3"]
    a = sim(tmp_path / "a", *args, "--flavour", "cocotb")
    text = capsys.readouterr().out
    words = ["hit rate", "faults", "coalesced", "invalidations", "stalls", "cycles/s", "seed 1", "oracle"]
    for word in words:
        assert word in text, word
    b = sim(tmp_path / "b", *args, "--flavour", "plain")
    c = sim(tmp_path / "c", *args, "--flavour", "plain", "--seed", "2")
    assert a["device"] == b["device"] and a["workload"] == b["workload"] and a["driver"] == b["driver"]
    assert a["speed"]["cycles"] == b["speed"]["cycles"]
    assert a["device"]["digest"] != c["device"]["digest"]
    d = a["device"]
    assert d["faults"] and d["invalidations"] and d["hit_rate"] > 0.5
    assert d["latency_cycles"]["hit"]["count"] == d["hits"] and d["latency_cycles"]["fault"]["p50"] > 0


@pytest.mark.icarus
def test_icarus_is_the_same_run(tmp_path: Path) -> None:
    """Icarus, with its four states, runs the same cycles as Verilator."""
    args = ["--trace", str(ROOT / "traces/sqlite.svmt"), "--limit", "300", "--pressure", "4"]
    a = sim(tmp_path / "a", *args, "--sim", "icarus")
    b = sim(tmp_path / "b", *args, "--flavour", "plain")
    assert a["device"]["digest"] == b["device"]["digest"]


@pytest.mark.parametrize("trace,mirror", [("numpy", "interval"), ("sqlite", "mirror")])
def test_processes_under_stress(tmp_path: Path, trace: str, mirror: str) -> None:
    """Two processes with a PASID each, a slow disordered bus and much pressure: nothing is wrong."""
    args = ["--trace", str(ROOT / f"traces/{trace}.svmt"), "--limit", "2500", "--flavour", "plain"]
    args += ["--processes", "2", "--pressure", "4", "--config", "stress", "--mirror", mirror]
    r = sim(tmp_path, *args)
    assert r["ok"] and r["workload"]["accesses"] == 5000


@pytest.mark.parametrize(("mirror", "status"), [("v1", 1), ("v3", 1), ("mirror", 0)])
def test_the_first_mirror_api_lets_the_device_use_freed_memory(
    tmp_path: Path, mirror: str, status: int
) -> None:
    """The hole of the patch: a range that begins inside an invalidation is valid. Later versions close it."""
    args = ["--trace", str(ROOT / "traces/sort.svmt"), "--limit", "3000", "--flavour", "plain"]
    r = sim(tmp_path, *args, "--seed", "3", "--pressure", "3", "--mirror", mirror, status=status)
    assert r["ok"] is (status == 0) and ("freed-frame" in json.dumps(r)) is (status == 1)


def test_a_small_device(tmp_path: Path) -> None:
    """A cache of 16 entries and 2 fault identifiers: both run out, nothing is wrong."""
    args = ["--trace", str(ROOT / "traces/sqlite.svmt"), "--limit", "2500", "--flavour", "plain"]
    r = sim(tmp_path, *args, "--device", "small", "--processes", "3", "--pressure", "4", "--config", "stress")
    d = r["device"]
    assert r["ok"] and d["evictions"]
    assert d["stall_cycles"]["no fault identifier"]


def test_broken_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A truncated trace ends in one line with file and offset, and status 1."""
    bad = tmp_path / "bad.svmt"
    bad.write_bytes((ROOT / "traces/sort.svmt").read_bytes()[:5000])
    assert run_sim.main(["--out", str(tmp_path), "--trace", str(bad)]) == 1
    got = capsys.readouterr()
    assert "bad.svmt: offset 5000: truncated" in got.err and not got.out
