"""The Transport: how a driver reaches a device. Simulation, PCIe model and VFIO implement it.

Small on purpose: registers, host memory that the device can reach, interrupts. The driver knows
nothing else of the world the device lives in.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sw_model.device_interface import Counter, Reg


class Transport(Protocol):
    """One device and the host memory it can reach.

    `memory` is all host memory that the device can reach, as bytes (uint8, C-contiguous). It is
    shared with the device: a store is visible to the device at once. A bus address is
    `bus_base` + the byte offset into `memory`.
    """

    memory: NDArray[np.uint8]
    bus_base: int

    async def read_reg(self, offset: int) -> int:
        """32-bit register at a byte offset in BAR0. Earlier writes have landed.

        Raises OSError(ENODEV) when the device is gone (reads as all ones).
        """

    async def write_reg(self, offset: int, value: int) -> None:
        """Post a 32-bit write to a register: it lands later, in order with other writes.

        Stores made to `memory` before are visible to the device before the write lands (wmb).
        """

    async def wait_irq(self, vector: int) -> None:
        """Wait for an interrupt on `vector` since the last return; several may have merged.

        Records that the interrupt announces are visible in `memory`.
        """

    def now(self) -> int:
        """Device time in cycles, for reports only."""


async def read_counters(transport: Transport) -> dict[str, int]:
    """The device's 64-bit counters, by name."""
    out = {}
    base = int(Reg.CNT_READS_LO)
    for c in Counter:
        low = await transport.read_reg(base + 8 * c)
        high = await transport.read_reg(base + 8 * c + 4)
        out[c.name] = high << 32 | low
    return out
