"""The figures of a run: from the harness's logs, the counters and the driver; as a dict and as a table."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw_model import device_interface as dev

PERCENTILES = (50, 95, 99)
RECORD = dev.RECORD_BYTES
M32 = 0xFFFFFFFF

STALLS = {
    "no park slot": "STALL_PARK",
    "bus busy": "STALL_BUS",
    "fault ring full": "STALL_FAULT_RING",
    "no fault identifier": "STALL_MSHR",
    "invalidation drains": "DRAIN_CYCLES",
}


def spread(values: NDArray) -> dict[str, int]:
    """Count, p50, p95, p99 and maximum of cycles."""
    if not len(values):
        return {"count": 0}
    out = {"count": len(values)}
    for p, v in zip(PERCENTILES, np.percentile(values, PERCENTILES, method="higher"), strict=True):
        out[f"p{p}"] = int(v)
    out["max"] = int(np.max(values))
    return out


class Collector:
    """Takes the harness's logs as they come and keeps what the report needs."""

    def __init__(self) -> None:
        self.rings: dict[str, tuple[int, int]] = {}
        self._lookup: list[NDArray] = []  # cycles from the port to the bus
        self._total: list[NDArray] = []  # cycles from the port to the response
        self._fault_at: dict[int, int] = {}  # sequence number -> cycle of the miss
        self._fault: list[int] = []
        self._invalidate: list[int] = []
        self._digest = [hashlib.sha256(), hashlib.sha256()]
        self.reads = self.writes = self.errors = self.bytes = 0

    def feed(self, accesses: NDArray, records: NDArray) -> None:
        """Log entries in order of time."""
        self._digest[0].update(accesses.tobytes())
        self._digest[1].update(records.tobytes())
        if len(accesses):
            writes = int(np.count_nonzero(accesses["write"]))
            self.writes += writes
            self.reads += len(accesses) - writes
            self.errors += int(np.count_nonzero(accesses["resp"] > 1))
            self.bytes += int(accesses["moved"].sum())
            a = accesses[accesses["issued"] != 0]
            self._lookup.append((a["t_issue"] - a["t_accept"]).astype(np.uint32))
            self._total.append((accesses["t_resp"] - accesses["t_accept"]).astype(np.uint32))
        for name, take in (("FAULT", self._faults), ("CMD", self._commands), ("EVENT", self._events)):
            if name in self.rings and len(records):
                base, log2 = self.rings[name]
                take(records[(records["addr"] >= base) & (records["addr"] < base + (RECORD << log2))])

    def _faults(self, r: NDArray) -> None:
        seq, miss = dev.FAULT.get(r["data"], "SEQ"), dev.FAULT.get(r["data"], "CYCLE")
        for s, m, now in zip(seq.tolist(), miss.tolist(), r["cycle"].tolist(), strict=True):
            self._fault_at[s] = now - ((now - m) & M32)

    def _commands(self, r: NDArray) -> None:
        r = r[dev.CMD.get(r["data"], "OP") == dev.Op.RESPOND]
        for s, now in zip(dev.CMD.get(r["data"], "SEQ").tolist(), r["cycle"].tolist(), strict=True):
            at = self._fault_at.pop(s, None)
            if at is not None:
                self._fault.append(now - at)

    def _events(self, r: NDArray) -> None:
        op = dev.EVENT.get(r["data"], "OP")
        wanted = (dev.Op.INVALIDATE, dev.Op.INVALIDATE_PASID, dev.Op.INVALIDATE_ALL, dev.Op.DETACH)
        r = r[(dev.EVENT.get(r["data"], "TYPE") == dev.Event.COMPLETE) & np.isin(op, wanted)]
        start, end = dev.EVENT.get(r["data"], "EFFECT"), dev.EVENT.get(r["data"], "CYCLE")
        self._invalidate += ((end - start) & np.uint64(M32)).tolist()

    @property
    def digest(self) -> str:
        """Hash of every access and ring record with its cycles: equal for equal runs."""
        return hashlib.sha256(b"".join(d.digest() for d in self._digest)).hexdigest()[:16]

    def latency(self, hits: int) -> dict[str, dict[str, int]]:
        """Spread of latencies in cycles.

        `hits` is the device's count of first-lookup hits: they are the shortest ways from port to bus,
        since a miss takes a round trip to the host.
        """
        lookup = np.sort(np.concatenate(self._lookup)) if self._lookup else np.empty(0, np.uint32)
        total = np.concatenate(self._total) if self._total else np.empty(0, np.uint32)
        return {
            "hit": spread(lookup[:hits]),
            "miss": spread(lookup[hits:]),
            "fault": spread(np.array(self._fault)),
            "invalidation": spread(np.array(self._invalidate)),
            "access": spread(total),
        }


def host_latency(pairs: Collection[tuple[int, int]]) -> dict[str, int]:
    """Spread of (start, end) pairs in cycles."""
    return spread(np.array([b - a for a, b in pairs])) if pairs else {"count": 0}


def figures(counters: Mapping[str, int], collector: Collector) -> dict[str, Any]:
    """What the device did, from its counters and the logs."""
    c = counters
    accesses = c["READS"] + c["WRITES"]
    hits = c["READ_HITS"] + c["WRITE_HITS"]
    return {
        "accesses": accesses,
        "reads": c["READS"],
        "writes": c["WRITES"],
        "bytes": collector.bytes,
        "hits": hits,
        "hit_rate": hits / accesses if accesses else 0.0,
        "misses": c["READ_MISSES"] + c["WRITE_MISSES"],
        "coalesced": c["COALESCED"],
        "faults": c["FAULTS"],
        "fills": c["FILLS"],
        "evictions": c["EVICTIONS"],
        "invalidations": c["INVALIDATIONS"],
        "invalidated_entries": c["INVALIDATED"],
        "errors": c["ERRORS"],
        "latency_cycles": collector.latency(hits),
        "stall_cycles": {name: c[key] for name, key in STALLS.items()},
        "counters": dict(c),
        "digest": collector.digest,
    }


def _n(value: int | float) -> str:
    return f"{value:,}".replace(",", " ")


def rows(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The summary as (section, name, value)."""
    out: list[tuple[str, str, str]] = []
    d = report.get("device")
    w = report.get("workload")
    if w:
        cpu = w["cpu"]["load"] + w["cpu"]["store"]
        out += [
            ("replay", "recorded accesses", _n(w["accesses"])),
            ("replay", "by the device / by the CPU", f"{_n(sum(w['device'].values()))} / {_n(cpu)}"),
            ("replay", "address-space calls", ", ".join(f"{v} {k}" for k, v in sorted(w["calls"].items()))),
        ]
        if w["pressure"]:
            done = {k: v for k, v in sorted(w["pressure"].items()) if "(" not in k}
            out.append(("replay", "memory pressure", ", ".join(f"{v} {k}" for k, v in done.items())))
    if d:
        out += [
            (
                "device",
                "bus accesses",
                f"{_n(d['accesses'])} ({_n(d['reads'])} reads, {_n(d['writes'])} writes)",
            ),
            ("device", "hit rate", f"{100 * d['hit_rate']:.2f} %"),
            ("device", "faults", f"{_n(d['faults'])}, and {_n(d['coalesced'])} misses coalesced into them"),
            ("device", "pages filled", f"{_n(d['fills'])} ({_n(d['evictions'])} replaced another)"),
            ("device", "invalidations", f"{_n(d['invalidations'])} ({_n(d['invalidated_entries'])} entries)"),
        ]
        names = {
            "hit": "hit: port to bus",
            "miss": "miss: port to bus",
            "fault": "fault: miss to answer",
            "invalidation": "invalidation: effect to completion",
            "invalidation_host": "invalidation: seen by the host",
        }
        for key, name in names.items():
            s = d["latency_cycles"].get(key, {"count": 0})
            if s["count"]:
                text = "  ".join(f"{k} {_n(s[k])}" for k in ("p50", "p95", "p99", "max"))
                out.append(("latency in cycles", name, text))
        out += [("stalls in cycles", k, _n(v)) for k, v in d["stall_cycles"].items()]
    s = report["speed"]
    out += [
        ("simulation", "cycles", _n(s["cycles"])),
        ("simulation", "wall clock", f"{s['seconds']:.1f} s, {_n(round(s['cycles_per_second']))} cycles/s"),
    ]
    if d:
        out.append(("simulation", "run", f"seed {report['seed']}, digest {d['digest']}"))
    for name, check in report["checks"].items():
        out.append(("verdict", name, ("ok: " if check["ok"] else "WRONG: ") + check["text"]))
    return out


def render(report: Mapping[str, Any], console: Any) -> None:
    """Print the summary with rich."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column()
    table.add_column()
    last = ""
    for section, name, value in rows(report):
        style = "red bold" if value.startswith("WRONG") else "green" if value.startswith("ok:") else ""
        table.add_row(section if section != last else "", name, Text(value, style=style))
        last = section
    console.print(table)
    for line in report.get("details", []):
        console.print(Text(f"  {line}", style="red"))
