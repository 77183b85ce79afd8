"""The trace format and the recorder's parser."""

from __future__ import annotations

import io
import os
import random
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tb import record as rec
from tb.tools import ROOT
from tb.trace import ACCESS, BLOCK, Call, Kind, Region, Trace, TraceError, Writer, main


def make(path: Path, n: int = 3 * BLOCK + 17, seed: int = 1) -> tuple[np.ndarray, list]:
    """Write a random trace; its accesses and its calls."""
    rng = np.random.default_rng(seed)
    acc = np.empty(n, dtype=ACCESS)
    acc["addr"] = rng.integers(0, 1 << 47, n, dtype=np.uint64)
    acc["addr"][::2] = 0x1FFF000000 + rng.integers(0, 4096, len(acc["addr"][::2]), dtype=np.uint64)
    acc["size"] = rng.choice([1, 2, 4, 8, 16, 32, 512], n)
    acc["kind"] = rng.integers(0, 3, n)
    cuts = [*sorted(int(x) for x in rng.integers(0, n + 1, 9)), n]
    calls = []
    w = Writer(path)
    at = 0
    for i, cut in enumerate(cuts):
        w.add(acc[at:cut])
        at = cut
        call = (Call(i % 6), (i, 4096, 3, 0x22, (1 << 64) - 1, 0), 0x7000_0000 + i)
        w.call(*call)
        calls.append((cut, *call))
    w.close({"program": "x", "command": ["x", "-y"]}, [Region(0x1000, 0x3000, 3, "segment")])
    return acc, calls


def test_round_trip(tmp_path: Path) -> None:
    """Accesses, calls, their order and the initial regions come back as written."""
    path = tmp_path / "a.svmt"
    acc, calls = make(path)
    t = Trace(path)
    assert t.header["program"] == "x" and t.initial == [Region(0x1000, 0x3000, 3, "segment")]
    assert np.array_equal(t.accesses(), acc)
    at = seen = 0
    for got_calls, got in t.segments():
        for c in got_calls:
            want = calls[seen]
            assert (at, c["kind"], tuple(int(a) for a in c["args"]), c["result"]) == want
            seen += 1
        assert np.array_equal(got, acc[at : at + len(got)])
        at += len(got)
    assert at == len(acc) and seen == len(calls)
    assert not path.with_name("a.svmt.part").exists()


@pytest.mark.parametrize("limit", [0, 1, 1000, BLOCK, 10**9])
def test_limit(tmp_path: Path, limit: int) -> None:
    """A limit cuts accesses, and the calls that come after the cut."""
    path = tmp_path / "a.svmt"
    acc, calls = make(path)
    got = list(Trace(path).segments(limit))
    n = sum(len(a) for _, a in got)
    assert n == min(limit, len(acc))
    ncalls = sum(len(c) for c, _ in got)
    assert ncalls == sum(1 for c in calls if c[0] < limit)


def test_corruption(tmp_path: Path) -> None:
    """Any changed byte and any cut is noticed; the error names the file."""
    path = tmp_path / "a.svmt"
    make(path, 5000)
    good = path.read_bytes()
    rng = random.Random(5)
    bad = tmp_path / "bad.svmt"
    for _ in range(300):
        data = bytearray(good)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        bad.write_bytes(data)
        with pytest.raises(TraceError, match=r"bad\.svmt: offset [0-9]+: "):
            Trace(bad).accesses()
    for cut in [0, 1, 8, 15, len(good) - 1, *(rng.randrange(len(good)) for _ in range(100))]:
        bad.write_bytes(good[:cut])
        with pytest.raises(TraceError, match=r"bad\.svmt: offset [0-9]+: "):
            Trace(bad).accesses()
    bad.write_bytes(good + b"\0")
    with pytest.raises(TraceError, match="data after the end"):
        Trace(bad)


def test_cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`info` prints a summary; a foreign or absent file gives one line and status 1."""
    path = tmp_path / "a.svmt"
    make(path, 100)
    assert main(["info", str(path)]) == 0
    assert "100 " in capsys.readouterr().out
    foreign = tmp_path / "foreign.txt"
    foreign.write_bytes(b"PK\x03\x04" * 100)
    for f in (foreign, tmp_path / "none.svmt"):
        assert main(["info", str(f)]) == 1
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and f.name in err


@pytest.mark.parametrize("name", ["sort", "numpy", "sqlite"])
def test_shipped(name: str) -> None:
    """The shipped recordings are intact and small, and their calls come from a real program."""
    path = ROOT / "traces" / f"{name}.svmt"
    t = Trace(path)
    assert t.bytes < 400_000 and t.count > 60_000
    acc = t.accesses()
    assert np.count_nonzero(acc["kind"] == Kind.STORE) > 10_000
    kinds = set(t.calls["kind"].tolist())
    assert {Call.MMAP, Call.MUNMAP, Call.MPROTECT, Call.BRK} <= kinds
    assert [r for r in t.initial if r.name == "stack"]


LACKEY = b"""==12== Lackey, an example Valgrind tool
==12== Command: x
==12==
I  04000000,3
 S 1fff000758,8
I  04000003,3
 M 00123010,4
SYSCALL[12,1](12) sys_brk ( 0x0 ) --> [pre-success] Success(0x4035000)\x20
SYSCALL[12,1](257) sys_openat ( 4294967196, 0x4034bb0(/a (b, c)), 524288 ) --> [async] ...\x20
SYSCALL[12,1](257) ... [async] --> Success(0x3)\x20
SYSCALL[12,1](9) sys_mmap ( 0x0, 8192, 3, 34, 4294967295, 0 ) --> [pre-success] Success(0x4835000)\x20
 L 04835ffc,8
SYSCALL[12,1](9) sys_mmap ( 0x0, 8192, 3, 34, 4294967295, 0 ) --> [pre-success] Failure(0xc)\x20
SYSCALL[12,1](12) sys_brk ( 0x4037000 ) --> [pre-success] Success(0x4037000)\x20
 S 04036000,512
SYSCALL[12,1](10) sys_mprotect ( 0x123000, 4096, 1 )[sync] --> Success(0x0)\x20
SYSCALL[12,1](25) sys_mremap ( 0x4835000, 8192, 16384, 0x1 )[sync] --> Success(0x5000000)\x20
 L 05003000,1
SYSCALL[12,1](11) sys_munmap ( 0x5000000, 16384 )[sync] --> Success(0x0)\x20
"""


@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 20])
def test_parser(chunk: int) -> None:
    """Order, arguments and results are kept however the text is cut; failed calls are dropped."""
    items = list(rec.parse(io.BytesIO(LACKEY), chunk))
    flat = []
    for item in items:
        if isinstance(item, tuple):
            flat.append((item[0].name, item[1], item[2]))
        else:
            flat += [(Kind(int(k)).name, int(a), int(s)) for a, s, k in item]
    assert flat == [
        ("STORE", 0x1FFF000758, 8),
        ("MODIFY", 0x123010, 4),
        ("BRK", (0,), 0x4035000),
        ("MMAP", (0, 8192, 3, 34, 4294967295, 0), 0x4835000),
        ("LOAD", 0x4835FFC, 8),
        ("BRK", (0x4037000,), 0x4037000),
        ("STORE", 0x4036000, 512),
        ("MPROTECT", (0x123000, 4096, 1), 0),
        ("MREMAP", (0x4835000, 8192, 16384, 1), 0x5000000),
        ("LOAD", 0x5003000, 1),
        ("MUNMAP", (0x5000000, 16384), 0),
    ]


def test_initial_regions(tmp_path: Path) -> None:
    """Touched pages that no call mapped become regions, and only those."""
    r = rec.Recorder(Writer(tmp_path / "t.svmt"))
    r.run(io.BytesIO(LACKEY))
    r.close(["x"])
    t = Trace(tmp_path / "t.svmt")
    assert [(x.start, x.prot, x.name) for x in t.initial] == [
        (0x123000, 3, "segment"),
        (0x1FFF001000 - 32 * 4096, 3, "stack"),
    ]
    assert t.header["brk"] == 0x4035000 and t.count == 5


@pytest.mark.parametrize("limit", [10, 100, 4096, 10**6])
def test_thinning(tmp_path: Path, limit: int) -> None:
    """Blocks of consecutive accesses survive, never more than the limit, calls all and in place."""
    acc = np.zeros(10_000, dtype=ACCESS)
    acc["addr"] = np.arange(10_000)
    acc["size"] = 1
    w = Writer(tmp_path / "t.svmt")
    thin = rec.Thinner(w, limit, 64)
    for i in range(0, 10_000, 250):
        thin.call(Call.BRK, (i,), i)
        thin.add(acc[i : i + 250])
    thin.finish()
    w.close({}, [])
    t = Trace(tmp_path / "t.svmt")
    got = t.accesses()["addr"].astype(int)
    assert len(got) <= limit and len(got) * 2 >= min(limit, 10_000) - 64
    keep = min(64, limit)
    assert all(x // keep % thin.every == 0 for x in got.tolist()) and (np.diff(got) > 0).all()
    assert t.calls["args"][:, 0].tolist() == list(range(0, 10_000, 250))
    for at, arg in zip(t.calls["at"].tolist(), t.calls["args"][:, 0].tolist(), strict=True):
        assert at == np.count_nonzero(got < arg)


def run_record(*args: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the recorder as its user does."""
    env = dict(os.environ, **({"PATH": path} if path is not None else {}))
    return subprocess.run(
        [sys.executable, "-m", "tb.record", *args], cwd=ROOT, env=env, capture_output=True, text=True
    )


def test_no_valgrind(tmp_path: Path) -> None:
    """Without valgrind: one line that names the package, and no file."""
    out = tmp_path / "x.svmt"
    r = run_record("-o", str(out), "--", "true", path=str(tmp_path))
    assert r.returncode != 0 and "apt-get install valgrind" in r.stderr and r.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_failing_command(tmp_path: Path) -> None:
    """A failing or unknown command: one line and no file (with a stand-in for valgrind)."""
    fake = tmp_path / "bin" / "valgrind"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\nexit 3\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    out = tmp_path / "x.svmt"
    path = f"{fake.parent}:/usr/bin:/bin"
    r = run_record("-o", str(out), "--", "true", path=path)
    assert r.returncode == 1 and "status 3" in r.stderr and r.stderr.count("\n") == 1
    r = run_record("-o", str(out), "--", "no-such-program", path=path)
    assert r.returncode == 1 and "no such program" in r.stderr and r.stderr.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["bin"]


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is missing: apt-get install valgrind")
def test_record_program(tmp_path: Path) -> None:
    """A real program end to end: every access lies in an initial region or in a call's mapping."""
    out = tmp_path / "true.svmt"
    r = run_record("-o", str(out), "--limit", "0", "--", "/bin/true")
    assert r.returncode == 0, r.stderr
    t = Trace(out)
    assert t.count > 1000 and "thinned" not in t.header
    cover = rec.Coverage()
    for region in t.initial:
        cover._map(region.start, region.end)
    for calls, acc in t.segments():
        for c in calls:
            cover.call(Call(int(c["kind"])), tuple(int(a) for a in c["args"]), int(c["result"]))
        cover.touch(acc)
    assert not cover.implied
