"""Verilated devices in dmirror's place: one memory, one scheduler, a harness and an oracle for each device.

Every device has its own MMU, rings and interrupts; all reach the same memory, whose last part is the
device-memory aperture. One device runs as `World` does. Several are stepped in turn: the one that is behind
runs, and is at most QUANTUM cycles ahead of the others when it stops.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from sw_model.devmem import MEMORY_DEVICE_PRIVATE
from sw_model.phys import PhysMem
from sw_model.sched import RandomStrategy, Strategy
from sw_model.svm_dmirror import SvmDmirrorDevice
from tb.oracle import Oracle
from tb.sim import EV_LOG, NS_PER_CYCLE, HarnessConfig
from tb.world import World

PAGE = 4096
QUANTUM = 64
MAX_CYCLES = 20_000_000


class _Latest:
    """Time of several harnesses: that of the one that is ahead."""

    def __init__(self, worlds: list[World]) -> None:
        self.worlds = worlds

    def now(self) -> int:
        """Nanoseconds since the start."""
        return max(w.cycle for w in self.worlds) * NS_PER_CYCLE


class Rack:
    """`n` devices on a host with `host_mib` MiB, and `device_pages` of device memory for each.

    `device(i)` makes the i-th dmirror; `run` runs one kernel thread to its end, brings the devices up before
    and down after it, and raises AssertionError with the oracle's report where a device broke a rule.
    """

    def __init__(
        self,
        n: int = 1,
        host_mib: int = 8,
        device_pages: int = 256,
        kind: int = MEMORY_DEVICE_PRIVATE,
        seed: int = 1,
        strategy: Strategy | None = None,
        config: str = "default",
        device_params: dict[str, int] | None = None,
        **options: Any,
    ) -> None:
        """`config`: a HarnessConfig preset. `options` go to each SvmDriver. Raises what World raises."""
        aperture = 2 * n * device_pages + 2 * 512
        memory = np.zeros((host_mib << 20) + aperture * PAGE, np.uint8)
        self.worlds = [
            World(
                seed=seed + i,
                memory=memory,
                strategy=strategy or RandomStrategy(seed, 0.05),
                config=HarnessConfig.preset(config),
                device_params=device_params,
            )
            for i in range(n)
        ]
        self.sched = self.worlds[0].sched
        if n > 1:
            self.sched.clock = _Latest(self.worlds)
            for w in self.worlds:
                w.sched = self.sched
        self.phys = PhysMem(memory, seed=seed, device_frames=aperture)
        self.oracles: list[Oracle] = []
        self.devices: list[SvmDmirrorDevice] = []
        for w in self.worlds:
            oracle = Oracle(bus_base=w.bus_base, now=lambda w=w: w.cycle)
            oracle.watch(self.phys)
            self.oracles.append(oracle)
            w.on_wake = lambda events, w=w, o=oracle: events & EV_LOG and o.feed(*w.drain_logs())
            self.devices.append(
                SvmDmirrorDevice(w.transport, self.phys, self.sched, device_pages, kind, **options)
            )
            # An idle device may wait for long while another one works.
            w.hang_cycles = MAX_CYCLES if n > 1 else w.hang_cycles

    async def probe(self) -> None:
        """Bring the devices up and tell the oracles where the rings are."""
        for device, oracle in zip(self.devices, self.oracles, strict=True):
            await device.probe()
            for name, (base, log2) in {**device.driver.rings, **device.engine.rings}.items():
                oracle.set_ring(name, base, log2)
            device.on_open = lambda mirror, o=oracle: o.bind(mirror.pasid, mirror.mm.mm_id)

    def run(self, main: Callable[[], Awaitable[Any]]) -> Any:
        """Run a thread and those it spawns to the end; its result. Raises what a thread raised."""

        async def whole() -> Any:
            await self.probe()
            out = await main()
            for device in self.devices:
                if not device.driver.removed:
                    await device.remove()
            return out

        thread = self.sched.spawn(whole(), "main")
        try:
            if len(self.worlds) == 1:
                self.worlds[0].run_plain(MAX_CYCLES)
            else:
                self._step()
            self.verify()
        finally:
            for t in self.sched.threads:
                t.coro.close()
            for w in self.worlds:
                w.close()
        return thread.result

    def _step(self) -> None:
        for w in self.worlds:
            w.start(MAX_CYCLES)
        while True:
            behind = min(self.worlds, key=lambda w: w.cycle)
            if not behind.serve():
                return
            ahead = max(w.cycle for w in self.worlds)
            behind.harness.run(ahead - behind.cycle + QUANTUM)

    def verify(self) -> None:
        """Raise AssertionError with the report of an oracle that found something."""
        for w, oracle, device in zip(self.worlds, self.oracles, self.devices, strict=True):
            w.check()
            oracle.feed(*w.drain_logs())
            verdict = oracle.finish(pending=w.stats()["outstanding"])
            assert verdict.ok, str(verdict)
            assert not device.driver.command_errors, device.driver.command_errors
