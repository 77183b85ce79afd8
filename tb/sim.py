"""The harness from Python: the C API of tb/harness/svm_sim.h through ctypes.

The same class serves the plain library and a process whose time a simulator owns (cocotb): there the
library is the running executable, or the VPI module that the simulator has loaded.
"""

from __future__ import annotations

import ctypes as C
import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

EV_IRQ, EV_READ, EV_ALARM, EV_LOG, EV_ERROR, EV_LIMIT = 1, 2, 4, 8, 16, 32
NEVER = (1 << 64) - 1
ABI = 1
NS_PER_CYCLE = 4

# One access on the virtual-address side, in order of response. Times are in cycles; see svm_sim.h.
ACCESS_DTYPE = np.dtype(
    [
        ("t_accept", "<u8"),
        ("t_issue", "<u8"),
        ("t_mem", "<u8"),
        ("t_resp", "<u8"),
        ("va", "<u8"),
        ("bus", "<u8"),
        ("fold", "<u8"),
        ("user", "<u4"),
        ("nbytes", "<u4"),
        ("moved", "<u4"),
        ("seq", "<u4"),
        ("id", "<u2"),
        ("write", "u1"),
        ("resp", "u1"),
        ("lock", "u1"),
        ("issued", "u1"),
        ("pad", "u1", 2),
    ]
)
# One 32-byte record moved on the ring port.
RECORD_DTYPE = np.dtype(
    [("cycle", "<u8"), ("addr", "<u8"), ("data", "<u8", 4), ("write", "<u4"), ("resp", "<u4")]
)
# What waits at the boundary of a held device (svm_held), and its kinds.
HELD_DTYPE = np.dtype(
    [
        ("kind", "<u4"),
        ("id", "<u4"),
        ("addr", "<u8"),
        ("va", "<u8"),
        ("user", "<u4"),
        ("seq", "<u4"),
        ("nbytes", "<u4"),
        ("write", "<u2"),
        ("ready", "<u2"),
        ("data", "<u8", 4),
    ]
)
HELD_REG, HELD_RING_READ, HELD_RING_WRITE, HELD_READ, HELD_WRITE, HELD_IRQ = range(1, 7)


class HarnessError(Exception):
    """The device broke a bus protocol, or a simulation could not be opened."""


# Fields of the C structures, in order.
_COUNTS = (
    "read_min",
    "read_max",
    "write_min",
    "write_max",
    "ring_min",
    "ring_max",
    "link_min",
    "link_max",
    "msi_min",
    "msi_max",
    "max_reads",
    "max_writes",
    "stall_max",
    "in_order",
    "log_watermark",
    "rand_reset",
)
_CHANCES = (
    "p_stall",
    "p_bubble",
    "p_interleave",
    "p_slow",
    "p_early_write",
)
_STATS = (
    "cycle",
    "errors",
    "reads",
    "writes",
    "read_bytes",
    "write_bytes",
    "outstanding",
    "oldest_age",
    "bus_reordered",
    "irqs",
    "attention",
)


class _CConfig(C.Structure):
    _fields_ = [
        ("abi", C.c_uint32),
        ("reset_cycles", C.c_uint32),
        ("seed", C.c_uint64),
        ("mem_base", C.c_uint64),
        ("mem_bytes", C.c_uint64),
        ("mem", C.c_void_p),
        ("mem_file", C.c_char_p),
        ("wave_file", C.c_char_p),
        *[(n, C.c_uint32) for n in _COUNTS],
        *[(n, C.c_double) for n in _CHANCES],
        ("slow_factor", C.c_uint32),
        ("monitor", C.c_uint32),
    ]


class _CStats(C.Structure):
    _fields_ = [(n, C.c_uint64) for n in _STATS]


@dataclass(frozen=True)
class HarnessConfig:
    """Behaviour of memory and links: latencies in cycles [min, max], probabilities per cycle (svm_sim.h)."""

    read_min: int = 20
    read_max: int = 60
    write_min: int = 20
    write_max: int = 60
    ring_min: int = 20
    ring_max: int = 60
    link_min: int = 40
    link_max: int = 80
    msi_min: int = 40
    msi_max: int = 120
    max_reads: int = 64
    max_writes: int = 64
    stall_max: int = 4
    in_order: int = 0
    log_watermark: int = 1 << 16
    rand_reset: int = 0
    p_stall: float = 0.02
    p_bubble: float = 0.02
    p_interleave: float = 0.0
    p_slow: float = 0.01
    p_early_write: float = 0.25
    slow_factor: int = 10
    monitor: int = 1
    reset_cycles: int = 16

    @staticmethod
    def preset(name: str) -> HarnessConfig:
        """ "fast": short fixed latencies, no stalls; "default"; "stress": everything reordered and stalled.

        Raises KeyError for another name.
        """
        return {
            "fast": HarnessConfig(
                read_min=8, read_max=8, write_min=8, write_max=8, ring_min=8, ring_max=8, link_min=4,
                link_max=4, msi_min=4, msi_max=4, p_stall=0.0, p_bubble=0.0, p_slow=0.0, p_early_write=0.0,
            ),
            "default": HarnessConfig(),
            "stress": HarnessConfig(
                read_min=2, read_max=150, write_min=2, write_max=150, ring_min=2, ring_max=150, link_min=2,
                link_max=200, msi_min=2, msi_max=300, p_stall=0.2, stall_max=8, p_bubble=0.2, p_slow=0.05,
                p_interleave=0.1, p_early_write=0.4,
            ),
        }[name]  # fmt: skip

    def replace(self, **changes: Any) -> HarnessConfig:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)


def attached() -> bool:
    """True in a process whose time a simulator owns."""
    return bool(os.environ.get("SVM_ATTACHED"))


_libs: dict[str | None, C.CDLL] = {}
_opened: list[str] = []


def load(path: Path | str | None) -> C.CDLL:
    """The C API in a library, or for None in the running executable."""
    key = str(path) if path else None
    if key in _libs:
        return _libs[key]
    lib = C.CDLL(key)
    u32, u64, p = C.c_uint32, C.c_uint64, C.c_void_p
    for name, res, args in (
        ("svm_open", p, [C.POINTER(_CConfig)]),
        ("svm_open_error", C.c_char_p, []),
        ("svm_close", None, [p]),
        ("svm_reg_write", None, [p, u32, u32]),
        ("svm_read_start", u64, [p, u32]),
        ("svm_read_poll", C.c_int, [p, u64, C.POINTER(u32)]),
        ("svm_run", u32, [p, u64]),
        ("svm_owns_time", C.c_int, [p]),
        ("svm_set_alarm", None, [p, u64]),
        ("svm_take_events", u32, [p]),
        ("svm_take_irqs", u32, [p]),
        ("svm_cycle", u64, [p]),
        ("svm_hold", None, [p, C.c_int]),
        ("svm_held_list", p, [p, C.POINTER(u64)]),
        ("svm_release", None, [p, u32]),
        ("svm_settle", u64, [p, u64, u64]),
        ("svm_memory", p, [p, C.POINTER(u64)]),
        ("svm_accesses", p, [p, C.POINTER(u64)]),
        ("svm_records", p, [p, C.POINTER(u64)]),
        ("svm_logs_reset", None, [p]),
        ("svm_get_stats", None, [p, C.POINTER(_CStats)]),
        ("svm_errors", C.c_char_p, [p]),
        ("svm_data_bytes", u32, [p]),
    ):
        f = getattr(lib, name)
        f.restype, f.argtypes = res, args
    _libs[key] = lib
    return lib


class Harness:
    """One open simulation.

    `memory` is the host memory that the device reaches, shared with it; bus address `bus_base` is its
    first byte. Close it when done: nothing may touch `memory` afterwards unless it was handed in.
    """

    def __init__(
        self,
        seed: int = 1,
        config: HarnessConfig | None = None,
        mem_bytes: int = 64 << 20,
        bus_base: int = 0x8000_0000,
        memory: NDArray[np.uint8] | None = None,
        mem_file: Path | str | None = None,
        waves: Path | str | None = None,
        library: Path | str | None = None,
    ) -> None:
        """Raises HarnessError when the simulation cannot be opened, ValueError for unusable memory."""
        self.config = config or HarnessConfig()
        self._s = None
        self._kept = 0  # events that reg_read met
        self.lib = load(library or os.environ.get("SVM_LIBRARY"))
        cfg = _CConfig(abi=ABI, seed=seed & NEVER, mem_base=bus_base, mem_bytes=mem_bytes)
        for f in dataclasses.fields(self.config):
            setattr(cfg, f.name, getattr(self.config, f.name))
        if memory is not None:
            if memory.dtype != np.uint8 or not memory.flags.c_contiguous or not memory.flags.writeable:
                raise ValueError("memory must be a writable C-contiguous uint8 array")
            cfg.mem, cfg.mem_bytes = memory.ctypes.data, memory.nbytes
        if mem_file is not None:
            cfg.mem_file = os.fsencode(mem_file)
        if waves is not None:
            cfg.wave_file = os.fsencode(waves)
        self._s = self.lib.svm_open(C.byref(cfg))
        if not self._s:
            raise HarnessError(self.lib.svm_open_error().decode())
        self._n = C.c_uint64()
        self._n_ref = C.byref(self._n)
        base = self.lib.svm_memory(self._s, self._n_ref)
        if memory is None:
            memory = np.ctypeslib.as_array((C.c_uint8 * self._n.value).from_address(base))
        self.memory: NDArray[np.uint8] = memory
        self.bus_base = bus_base
        self.owns_time = bool(self.lib.svm_owns_time(self._s))
        self.data_bytes: int = self.lib.svm_data_bytes(self._s)

    def close(self) -> None:
        """End the simulation; harmless twice."""
        if self._s:
            self.lib.svm_close(self._s)
            self._s = None

    def __enter__(self) -> Harness:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def cycle(self) -> int:
        """Cycles since reset was released."""
        return self.lib.svm_cycle(self._s)

    def reg_write(self, offset: int, value: int) -> None:
        """Post a register write."""
        self.lib.svm_reg_write(self._s, offset, value & 0xFFFF_FFFF)

    def read_start(self, offset: int) -> int:
        """Start a register read; a token for `read_poll`."""
        return self.lib.svm_read_start(self._s, offset)

    def read_poll(self, token: int) -> int | None:
        """The value once, when the read is complete; else None."""
        v = C.c_uint32()
        return v.value if self.lib.svm_read_poll(self._s, token, C.byref(v)) else None

    def reg_read(self, offset: int, limit: int = 100_000) -> int:
        """Read a register, running time; only where this process owns it.

        Raises HarnessError when no answer comes within `limit` cycles.
        """
        token = self.read_start(offset)
        end = self.cycle + limit
        while (v := self.read_poll(token)) is None:
            if self.cycle >= end:
                raise HarnessError(f"no answer from register 0x{offset:x}")
            pending = self.lib.svm_take_events(self._s)
            self._kept |= pending & ~EV_READ
            self.lib.svm_run(self._s, end - self.cycle)
        return v

    def run(self, cycles: int = NEVER) -> int:
        """Run to the next event or for `cycles`; the events. Only where this process owns time."""
        return self.lib.svm_run(self._s, cycles)

    def set_alarm(self, cycle: int | None) -> None:
        """Raise EV_ALARM at a cycle; None disarms."""
        self.lib.svm_set_alarm(self._s, NEVER if cycle is None else cycle)

    def take_events(self) -> int:
        """Events since the last call."""
        kept, self._kept = self._kept, 0
        return self.lib.svm_take_events(self._s) | kept

    def hold(self, on: bool = True) -> None:
        """While on, whatever crosses the device's boundary waits for `release`."""
        self.lib.svm_hold(self._s, int(on))

    def held(self) -> NDArray:
        """What waits at the boundary of a held device (HELD_DTYPE), in a fixed order."""
        return self._log(self.lib.svm_held_list, HELD_DTYPE)

    def release(self, index: int) -> None:
        """Let one entry of the last `held()` go on; nothing may have run in between."""
        self.lib.svm_release(self._s, index)

    def settle(self, quiet: int, limit: int = 100_000) -> int:
        """Run until the device's ports have not changed for `quiet` cycles; the cycles run.

        Raises HarnessError when they still change after `limit` cycles.
        """
        n = int(self.lib.svm_settle(self._s, quiet, limit))
        if n >= limit:
            raise HarnessError(f"the device does not come to rest in {limit} cycles")
        return n

    def advance(self, cycles: int) -> None:
        """Run for so many cycles, whatever happens; the events are kept."""
        self.lib.svm_settle(self._s, NEVER, cycles)

    def take_irqs(self) -> int:
        """Mask of the interrupt vectors that arrived since the last call."""
        return self.lib.svm_take_irqs(self._s)

    def _log(self, f: Any, dtype: np.dtype) -> NDArray:
        p = f(self._s, self._n_ref)
        return np.frombuffer(C.string_at(p, self._n.value * dtype.itemsize) if p else b"", dtype)

    def drain_logs(self) -> tuple[NDArray, NDArray]:
        """Accesses (ACCESS_DTYPE) and ring records (RECORD_DTYPE) since the last call; read-only copies."""
        out = self._log(self.lib.svm_accesses, ACCESS_DTYPE), self._log(self.lib.svm_records, RECORD_DTYPE)
        self.lib.svm_logs_reset(self._s)
        return out

    def drop_logs(self) -> None:
        """Forget the log entries so far."""
        self.lib.svm_logs_reset(self._s)

    def stats(self) -> dict[str, int]:
        """Counters of the harness, by name."""
        s = _CStats()
        self.lib.svm_get_stats(self._s, C.byref(s))
        return {n: getattr(s, n) for n in _STATS}

    def errors(self) -> str:
        """Protocol errors found so far, one a line (the first 64)."""
        return self.lib.svm_errors(self._s).decode()

    def check(self) -> None:
        """Raise HarnessError when a protocol error was found."""
        if text := self.errors():
            raise HarnessError(text)


def open_harness(
    data_w: int = 128,
    device: str = "svm_device",
    params: Mapping[str, int] | None = None,
    defines: Mapping[str, object] | None = None,
    rtl: Path | str | None = None,
    waves: Path | str | None = None,
    **kw: Any,
) -> Harness:
    """A Harness in this process: attached where a simulator owns time, else the library, built if needed.

    `data_w`, `device`, `params`, `defines`, `rtl` choose the build; attached, they are those of the build.
    """
    if attached():
        if not waves and (first := os.environ.get("SVM_WAVES")):
            # One file for each simulation opened in this process.
            _opened.append(first)
            waves = first if len(_opened) == 1 else Path(first).with_suffix(f".{len(_opened)}.vcd")
        h = Harness(waves=waves if os.environ["SVM_ATTACHED"] == "verilator" else None, **kw)
        if h.data_bytes * 8 != data_w:
            h.close()
            raise HarnessError(f"the simulation was built for {h.data_bytes * 8} bits, not {data_w}")
        return h
    from tb import build

    lib = build.library(build.Design.of(device, data_w, params, defines, waves is not None, rtl))
    return Harness(waves=waves, library=lib, **kw)
