"""One run of a recorded process on the simulated device: world, driver, workload, oracle, report.

The same session runs where this process owns time (plain library) and inside a cocotb test.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sw_model.driver import SvmDriver
from sw_model.engine import Engine
from sw_model.mm import MmStruct
from sw_model.phys import PhysMem
from sw_model.sched import RandomStrategy
from sw_model.transport import read_counters
from tb import report as rep
from tb.oracle import Oracle, check_accounting
from tb.sim import EV_LOG, HarnessConfig, HarnessError
from tb.trace import Trace, TraceError
from tb.workload import Pressure, Stats, Workload
from tb.world import SimHang, World

FIRST_PASID = 1
#: Sizes of the device: `small` evicts and runs out of fault identifiers all the time.
DEVICES: dict[str, dict[str, int]] = {
    "default": {},
    "small": {"SETS": 8, "WAYS": 2, "PARK": 8, "MSHRS": 2, "TRACK": 8},
}
LOG_WAKES = 1024  # the logs are looked at once in so many wakes of Python


@dataclass
class Options:
    """What to run.

    `limit` 0 is the whole trace; `memory` in MiB; `config` a HarnessConfig preset; `device` a key of DEVICES;
    `processes` replay the trace at once, each with a PASID and a seed of its own; `link` "axi" is the
    harness, "pcie" the endpoint under a root complex, with an IOMMU unless `iommu` is false.
    """

    trace: str = "traces/sort.svmt"
    seed: int = 1
    sim: str = "verilator"
    flavour: str = "cocotb"
    waves: bool = False
    limit: int = 0
    pressure: str = "1"
    mirror: str = "interval"
    memory: int = 128
    config: str = "default"
    data_w: int = 128
    device: str = "default"
    processes: int = 1
    link: str = "axi"
    iommu: bool = True
    out: str = "build/sim"

    def dump(self) -> str:
        """As JSON."""
        return json.dumps(dataclasses.asdict(self))

    @staticmethod
    def load(text: str) -> Options:
        """From JSON."""
        return Options(**json.loads(text))


class Session:
    """A run in progress; `report` holds the figures once it has ended, well or not."""

    def __init__(
        self,
        options: Options,
        progress: Callable[[int, int, int, int], None] | None = None,
        world: World | None = None,
    ) -> None:
        """`progress(accesses, total, cycle, faults)` is called now and then. No world: it opens the harness.

        Raises TraceError and HarnessError.
        """
        o = self.options = options
        self.progress = progress
        self.trace = Trace(o.trace)
        waves = str(Path(o.out) / "dump.vcd") if o.waves and o.flavour == "plain" else None
        self.world = world or World(
            seed=o.seed,
            mem_bytes=o.memory << 20,
            strategy=RandomStrategy(o.seed, 0.05),
            config=HarnessConfig.preset(o.config),
            data_w=o.data_w,
            device_params=DEVICES[o.device],
            waves=waves,
        )
        self.collector = rep.Collector()
        self.oracle: Oracle | None = None
        self.workloads: list[Workload] = []
        self.driver: SvmDriver | None = None
        self.counters: dict[str, int] = {}
        self.report: dict[str, Any] = {}
        self.phys: PhysMem | None = None
        self.exited = False
        self._start = time.perf_counter()
        self._wakes = 0
        self.world.on_wake = self._wake
        self.world.spawn(self._main(), "main")

    def _wake(self, events: int) -> None:
        self._wakes += 1
        if events & EV_LOG or self._wakes % LOG_WAKES == 0:
            self._feed()

    def _feed(self) -> None:
        accesses, records = self.world.drain_logs()
        self.collector.feed(accesses, records)
        if self.oracle is not None:
            self.oracle.feed(accesses, records)

    def _progress(self, done: int, total: int) -> None:
        if self.progress is not None and self.driver is not None:
            done = sum(w.stats.accesses for w in self.workloads)
            n = len(self.workloads)
            self.progress(done, n * total, self.world.cycle, self.driver.stats["faults"])

    async def _main(self) -> None:
        o, world = self.options, self.world
        phys = self.phys = PhysMem(world.memory, seed=o.seed)
        world.watch(phys)
        oracle = self.oracle = Oracle(bus_base=world.bus_base, now=lambda: world.cycle)
        oracle.watch(phys)
        driver = self.driver = SvmDriver(world.transport, phys, world.sched, mirror=o.mirror)
        await driver.probe()
        engine = Engine(world.transport, phys, world.sched, log2_work=10, log2_done=10)
        await engine.probe()
        for name, (base, log2) in {**driver.rings, **engine.rings}.items():
            oracle.set_ring(name, base, log2)
            self.collector.rings[name] = (base, log2)
        for i in range(o.processes):
            mm = MmStruct(phys, f"{self.trace.header.get('program', 'program')}.{i}", thp=True)
            oracle.bind(FIRST_PASID + i, mm.mm_id)
            await driver.attach(mm, FIRST_PASID + i)
            self.workloads.append(
                Workload(
                    self.trace,
                    mm,
                    engine,
                    FIRST_PASID + i,
                    world.sched,
                    seed=o.seed + i,
                    pressure=Pressure.parse(o.pressure),
                    limit=o.limit or None,
                    progress=self._progress,
                )
            )
        threads = [world.spawn(self._process(w), f"process{w.pasid}") for w in self.workloads]
        for thread in threads:
            await thread.join()
        self.counters = await read_counters(world.transport)
        await engine.stop()
        await driver.remove()
        self.exited = True

    async def _process(self, w: Workload) -> None:
        await w.run()
        assert self.driver is not None
        if (self.options.seed + w.pasid) % 2:
            await w.mm.exit()  # the process dies while the device is still attached
            await self.driver.detach(w.pasid)
        else:
            await self.driver.detach(w.pasid)
            await w.mm.exit()

    def finish(self, error: BaseException | None = None) -> dict[str, Any]:
        """End the run and make the report; `error` is what stopped it."""
        seconds = time.perf_counter() - self._start
        o, world = self.options, self.world
        details: list[str] = []
        checks: dict[str, dict[str, Any]] = {}
        cycles = world.cycle
        self._feed()
        if error is not None:
            name = type(error).__name__
            first = (str(error).splitlines() or [""])[0]
            checks["run"] = {"ok": False, "text": f"{name}: {first}"}
            if not isinstance(error, (SimHang, HarnessError, TraceError)):
                details += traceback.format_exception(error)[-1 if isinstance(error, OSError) else -4 :]
        total = Stats.sum(w.stats for w in self.workloads)
        if self.workloads:
            text = f"{total.accesses} accesses and {total.pages_compared} pages compared with the reference"
            ok = all(w.ok for w in self.workloads)
            if not ok:
                text += f": {total.mismatches} differ"
            checks["data"] = {"ok": ok, "text": text}
            for w in self.workloads:
                details += w.details
        if self.oracle is not None:
            if self.exited:
                self.oracle.account(check_accounting(self.phys, [w.mm for w in self.workloads]))
            v = self.oracle.finish(pending=world.stats()["outstanding"] if self.exited else 0)
            lines = str(v).splitlines()
            checks["oracle"] = {"ok": v.ok, "text": lines[0].removeprefix("oracle: ")}
            details += lines[1:]
        if self.driver is not None:
            bad = self.driver.command_errors
            checks["commands"] = {"ok": not bad, "text": f"{len(bad)} malformed"}
            details += [f"malformed command: {e}" for e in bad[:5]]
        self.report = {
            "trace": o.trace,
            "program": self.trace.header.get("program", ""),
            "seed": o.seed,
            "options": dataclasses.asdict(o),
            "ok": all(c["ok"] for c in checks.values()) and self.exited,
            "checks": checks,
            "details": [line.rstrip("\n") for line in details],
            "speed": {"cycles": cycles, "seconds": seconds, "cycles_per_second": cycles / max(seconds, 1e-9)},
        }
        if self.workloads:
            self.report["workload"] = dataclasses.asdict(total)
        if self.driver is not None:
            self.report["driver"] = dict(self.driver.stats)
        if self.counters and self.driver is not None:
            d = self.report["device"] = rep.figures(self.counters, self.collector)
            d["latency_cycles"]["invalidation_host"] = rep.host_latency(self.driver.latency["invalidate"])
        return self.report

    def write(self) -> Path:
        """Write the report as JSON; its path."""
        path = Path(self.options.out) / "report.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        tmp = path.with_suffix(".new")
        tmp.write_text(json.dumps(self.report, indent=1) + "\n")
        tmp.replace(path)
        return path


class ProgressFile:
    """Progress across processes: a small file, replaced at most five times a second."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.next = 0.0

    def write(self, *figures: int) -> None:
        """From the simulation."""
        now = time.monotonic()
        if now >= self.next:
            self.next = now + 0.2
            tmp = self.path.with_suffix(".new")
            tmp.write_text(" ".join(map(str, figures)))
            tmp.replace(self.path)

    def read(self) -> list[int] | None:
        """From the display; None before the first figures."""
        try:
            return [int(x) for x in self.path.read_text().split()] or None
        except (OSError, ValueError):
            return None
