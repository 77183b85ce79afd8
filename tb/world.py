"""The simulated world: a device in the harness, kernel threads above it, one clock for both.

`World` runs a Scheduler over the harness in two ways: it steps the plain library itself, or it waits in a
cocotb test for the harness's attention signal. Both wake Python by the same events at the same cycles.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw_model.sched import Scheduler, Strategy, Thread, WaitQueue
from tb.sim import (
    EV_ERROR,
    EV_IRQ,
    EV_READ,
    NS_PER_CYCLE,
    Harness,
    HarnessConfig,
    HarnessError,
    open_harness,
)

VECTORS = 4


class SimHang(Exception):
    """Nothing happened for too long, or the run is over its limit of cycles."""


class SimClock:
    """Simulated time of a harness: nanoseconds since reset was released."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness

    def now(self) -> int:
        """Nanoseconds since the start."""
        return self.harness.cycle * NS_PER_CYCLE


class SimTransport:
    """Transport over the harness (sw_model.transport.Transport)."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.memory: NDArray[np.uint8] = harness.memory
        self.bus_base = harness.bus_base
        self.reads_wq = WaitQueue("reg_read")
        self.irq_wq = [WaitQueue(f"irq{v}") for v in range(VECTORS)]
        self.irq_seen = [False] * VECTORS
        self.irq_count = [0] * VECTORS

    async def read_reg(self, offset: int) -> int:
        """32-bit register at a byte offset in BAR0. Earlier writes have landed.

        Raises OSError(ENODEV) when the device is gone (reads as all ones).
        """
        token = self.harness.read_start(offset)
        got: list[int] = []

        def ready() -> bool:
            if not got and (v := self.harness.read_poll(token)) is not None:
                got.append(v)
            return bool(got)

        await self.reads_wq.wait(ready)
        if got[0] == 0xFFFF_FFFF:
            raise OSError(errno.ENODEV, "device is gone")
        return got[0]

    async def write_reg(self, offset: int, value: int) -> None:
        """Post a 32-bit write to a register: it lands later, in order with other writes."""
        self.harness.reg_write(offset, value)

    async def wait_irq(self, vector: int) -> None:
        """Wait for an interrupt on `vector` since the last return; several may have merged."""
        await self.irq_wq[vector].wait(lambda: self.irq_seen[vector])
        self.irq_seen[vector] = False

    def now(self) -> int:
        """Device time in cycles, for reports only."""
        return self.harness.cycle

    def deliver(self, events: int) -> None:
        """Wake whoever waits for these events."""
        if events & EV_IRQ:
            mask = self.harness.take_irqs()
            for v in range(VECTORS):
                if mask >> v & 1:
                    self.irq_seen[v] = True
                    self.irq_count[v] += 1
                    self.irq_wq[v].wake_all()
        if events & EV_READ:
            self.reads_wq.wake_all()


class World:
    """A device, host memory and kernel threads in simulated time.

    `on_logs(accesses, records)`, when set, gets every batch of log entries in order of time: before the
    threads run at each wake, and at the end. Without it `drain_logs` returns what has gathered.
    """

    def __init__(
        self,
        seed: int = 1,
        mem_bytes: int = 64 << 20,
        bus_base: int = 0x8000_0000,
        memory: NDArray[np.uint8] | None = None,
        mem_file: Path | str | None = None,
        strategy: Strategy | None = None,
        config: HarnessConfig | None = None,
        data_w: int = 128,
        device: str = "svm_device",
        device_params: Mapping[str, int] | None = None,
        defines: Mapping[str, object] | None = None,
        rtl: Path | str | None = None,
        waves: Path | str | None = None,
        hang_cycles: int = 1_000_000,
        harness: Any = None,
    ) -> None:
        """Opens the harness, unless one is given; raises what tb.sim.open_harness raises."""
        self.harness = harness or open_harness(
            data_w=data_w, device=device, params=device_params, defines=defines, rtl=rtl, waves=waves,
            seed=seed, config=config, mem_bytes=mem_bytes, bus_base=bus_base, memory=memory,
            mem_file=mem_file,
        )  # fmt: skip
        self.seed = seed
        self.memory = self.harness.memory
        self.bus_base = self.harness.bus_base
        self.clock = SimClock(self.harness)
        self.transport = SimTransport(self.harness)
        self.sched = Scheduler(strategy, self.clock)
        self.hang_cycles = hang_cycles
        self.on_logs: Callable[[NDArray, NDArray], None] | None = None
        self.on_wake: Callable[[int], None] | None = None
        self.wakes = 0

    def spawn(self, coro: Coroutine, name: str, daemon: bool = False) -> Thread:
        """Make a kernel thread; a daemon does not keep the run going."""
        return self.sched.spawn(coro, name, daemon)

    @property
    def cycle(self) -> int:
        """Cycles since reset was released."""
        return self.harness.cycle

    def stats(self) -> dict[str, int]:
        """Counters of the harness, by name."""
        return self.harness.stats()

    def drain_logs(self) -> tuple[NDArray, NDArray]:
        """Log entries (accesses, ring records) that nobody has taken yet."""
        return self.harness.drain_logs()

    def check(self) -> None:
        """Raise HarnessError when a bus protocol was broken."""
        self.harness.check()

    def watch(self, phys: Any) -> None:
        """The host's frames are those of `phys`: for a link that refuses the others."""

    def close(self) -> None:
        """End the simulation; harmless twice."""
        self.harness.close()

    def __enter__(self) -> World:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _logs(self) -> None:
        if self.on_logs is not None:
            accesses, records = self.harness.drain_logs()
            if len(accesses) or len(records):
                self.on_logs(accesses, records)

    def _serve(self, end: int | None) -> bool:
        """Handle events and run threads; False when the run is over. Arms the alarm for the next wake.

        Raises SimHang, HarnessError, and what a thread raised.
        """
        self.wakes += 1
        events = self.harness.take_events()
        self._logs()
        if events & EV_ERROR:
            self.check()
        self.transport.deliver(events)
        if self.on_wake is not None:
            self.on_wake(events)
        self.sched.run_ready()
        if self.sched.finished:
            self._logs()
            self.check()
            return False
        now = self.harness.cycle
        if events & (EV_IRQ | EV_READ):
            self._hang_at = now + self.hang_cycles
        if end is not None and now >= end:
            raise SimHang(f"limit of {end} cycles reached: {self.diagnosis()}")
        deadline = self.sched.next_deadline()
        alarm = self._hang_at
        if deadline is not None:
            alarm = -(-deadline // NS_PER_CYCLE)
        elif now >= self._hang_at:
            raise SimHang(f"nothing happened for {self.hang_cycles} cycles: {self.diagnosis()}")
        self.harness.set_alarm(alarm if end is None else min(alarm, end))
        return True

    def diagnosis(self) -> str:
        """Where every thread is and what the device holds, for error messages."""
        threads = ", ".join(
            f"{t.name} at {t.blocked_on.name if isinstance(t.blocked_on, WaitQueue) else t.where[0]}"
            for t in self.sched.threads
        )
        s = self.stats()
        return (
            f"cycle {s['cycle']}; threads: {threads}; {s['outstanding']} accesses outstanding, "
            f"the oldest for {s['oldest_age']} cycles; interrupts {self.transport.irq_count}"
        )

    def start(self, max_cycles: int | None = None) -> None:
        """Before the first serve(): the run may last `max_cycles`."""
        self._end = None if max_cycles is None else self.cycle + max_cycles
        self._hang_at = self.cycle + self.hang_cycles

    def serve(self) -> bool:
        """Handle what has happened and arm the alarm for the next wake; False when the run is over.

        For whoever steps several worlds. Raises SimHang, HarnessError, and what a thread raised.
        """
        return self._serve(self._end)

    def run_plain(self, max_cycles: int | None = None) -> None:
        """Run until only daemons are left, stepping the library; only where this process owns time.

        Raises SimHang, HarnessError, and what a thread raised.
        """
        if not self.harness.owns_time:
            raise HarnessError("a simulator owns time here: run_cocotb() waits for it")
        self.start(max_cycles)
        while self.serve():
            self.harness.run()

    async def run_cocotb(self, dut: Any, max_cycles: int | None = None) -> None:
        """The same inside a cocotb test: sleeps on `dut.attention`, on nothing else.

        Raises SimHang, HarnessError, and what a thread raised.
        """
        self.start(max_cycles)
        attention = dut.attention
        while self.serve():
            await attention.value_change
