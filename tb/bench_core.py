"""Measure dmmu_core from its RTL and set each figure beside the bar and the best peer's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tb import runner


@dataclass(frozen=True)
class Bar:
    """One line: the measured key, what it must be (op is "<=" or ">="), and the best peer."""

    key: str
    op: str
    limit: float
    peer: str

    def met(self, value: float) -> bool:
        """True when the figure is within its bar."""
        return value <= self.limit if self.op == "<=" else value >= self.limit


#: Peer figures are cycles measured in simulation of each project's own RTL.
BARS = [
    Bar("hit latency, cycles", "<=", 4, "ZDL 2 (one lookup in 3 cycles), VTP 6, Coyote 7, TaPaSCo 9"),
    Bar("reads translated per cycle", ">=", 0.99, "VTP 1, TaPaSCo 1, ZDL 0.33, Coyote 0.125"),
    Bar("writes translated per cycle", ">=", 0.99, "shared with reads in every peer"),
    Bar("miss to fault record, cycles", "<=", 10, "Coyote 6, VTP L2 6, TaPaSCo 14, VTP service 27"),
    Bar("answer to access, cycles", "<=", 8, "Coyote 7, TaPaSCo 7, VTP service 13"),
    Bar("faults of 64 requests to a page", "<=", 1, "VTP 8 requests, 1 fault"),
    Bar("faults outstanding at the host", ">=", 32, "TaPaSCo 23, VTP 9, others 1"),
    Bar("cycles per page of a fill run", "<=", 2.5, "Coyote 2.7"),
    Bar("page invalidations back to back, cycles each", "<=", 4.5, "VTP 1, whole set dropped"),
    Bar("invalidate 1 pages, effect to completion", "<=", 4, "VTP 1 and ZDL 1, neither drains; Coyote 6"),
    Bar("invalidate 1 pages, command to event", "<=", 20, "VTP and TaPaSCo have no completion; ZDL about 25"),
    *(
        Bar(f"invalidate {n} pages, command to next command", "<=", min(n, 256) + const, peer)
        for n, const, peer in (
            (1, 3, "VTP 1, whole set dropped; TaPaSCo 10"),
            (16, 8, "TaPaSCo 100, all lookups blocked"),
            (256, 8, "TaPaSCo 1540, all lookups blocked"),
            (1024, 8, "TaPaSCo 6148, all lookups blocked"),
        )
    ),
    *(
        Bar(f"{kind} lookups per cycle while {n} pages are invalidated", ">=", 0.5, "TaPaSCo 0, VTP 0")
        for n in (1, 16, 256, 1024)
        for kind in ("read", "write")
    ),
    Bar("invalidate a PASID, command to event", "<=", 300, "none has it; VTP everything 514, blocked"),
    Bar("last of 1 responses to completion, cycles", "<=", 6, "Coyote, with holes; others do not wait"),
    Bar("last of 32 responses to completion, cycles", "<=", 6, "Coyote, with holes; others do not wait"),
    Bar("other lookups per cycle while 32 accesses drain", ">=", 0.5, "Coyote 0 in that direction"),
]


def measure(sim: str = "verilator") -> dict[str, Any]:
    """Run the measuring test; figures by name. Raises AssertionError when the simulation fails."""
    build_dir = runner.make(sim, {})
    path = build_dir / "bench.json"
    path.unlink(missing_ok=True)
    runner.run("tb.cocotb_core_bench", sim, {}, name="bench", env={"CORE_BENCH": str(path)}).check()
    return json.loads(path.read_text())


def rows(figures: dict[str, Any]) -> list[tuple[str, str, str, str, bool]]:
    """(what, measured, bar, best peer, met) for each line of `make bench`."""
    return [
        (bar.key, str(figures[bar.key]), f"{bar.op} {bar.limit:g}", bar.peer, bar.met(figures[bar.key]))
        for bar in BARS
    ]


def main() -> None:
    """Print the table."""
    for what, value, bar, peer, met in rows(measure()):
        print(f"{what:62} {value:>7} {bar:>8} {'ok' if met else 'MISSED':6} | {peer}")


if __name__ == "__main__":
    main()
