"""pcie_msix: interrupts as the host's driver sees them."""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.triggers import RisingEdge, Timer

from tb.env_pcie import MSIX_PBA, MSIX_TABLE, OKAY, Env
from tb.pcie_host import MSI

BASE = 0x12_3456_0000
VECTORS = 4


async def pulse(dut: Any, lines: int) -> None:
    """One cycle on some interrupt lines."""
    await RisingEdge(dut.clk)
    dut.irq.value = lines
    await RisingEdge(dut.clk)
    dut.irq.value = 0


async def start(dut: Any) -> Env:
    """An Env whose driver has allocated all vectors."""
    env = await Env(dut).start()
    assert await env.pci.alloc_irq_vectors(VECTORS, VECTORS) == VECTORS
    return env


def sent(env: Env) -> list[int]:
    """Data of the messages so far."""
    return [int.from_bytes(t.data, "little") for t in env.host.writes if t.address in MSI]


@cocotb.test(timeout_time=100, timeout_unit="us")
@cocotb.parametrize(full=[0.0, 0.5])
async def every_vector(dut: Any, full: float) -> None:
    """Each line sends the address and data of its vector, alone and all at once."""
    env = await start(dut)
    env.press(0.0, full)
    data = [v.data for v in env.pci.msi_vectors[:VECTORS]]
    for k in range(VECTORS):
        await pulse(dut, 1 << k)
        await Timer(1, "us")
        assert sent(env) == data[: k + 1]
    await pulse(dut, (1 << VECTORS) - 1)
    await Timer(1, "us")
    assert sorted(sent(env)[VECTORS:]) == sorted(data)
    env.check()


@cocotb.test(timeout_time=100, timeout_unit="us")
async def masks(dut: Any) -> None:
    """A masked vector pends in the PBA, once, and is sent when the mask opens; others pass it."""
    env = await start(dut)
    bar, data = env.pci.bar_window[0], [v.data for v in env.pci.msi_vectors[:VECTORS]]
    await bar.write_dword(MSIX_TABLE + 16 + 12, 1)
    assert await bar.read_dword(MSIX_TABLE + 16 + 12) == 1
    await pulse(dut, 0b0110)
    await pulse(dut, 0b0010)
    await Timer(1, "us")
    assert sent(env) == [data[2]]
    assert await bar.read_dword(MSIX_PBA) == 0b0010
    await bar.write_dword(MSIX_TABLE + 16 + 12, 0)
    assert await bar.read_dword(MSIX_PBA) == 0
    await Timer(1, "us")
    assert sent(env) == [data[2], data[1]]
    # The function's mask holds every vector.
    cap = env.device.functions[0].msix_cap
    cap.msix_function_mask = True
    await Timer(100, "ns")
    await pulse(dut, 0b1001)
    await Timer(1, "us")
    assert await bar.read_dword(MSIX_PBA) == 0b1001 and len(sent(env)) == 2
    cap.msix_function_mask = False
    await Timer(1, "us")
    assert sorted(sent(env)[2:]) == sorted([data[0], data[3]])
    env.check()


@cocotb.test(timeout_time=100, timeout_unit="us")
async def disabled_sends_nothing(dut: Any) -> None:
    """Without MSI-X or without bus mastering a pulse is dropped; after reset every vector is masked."""
    env = await Env(dut).start()
    bar = env.pci.bar_window[0]
    for k in range(VECTORS):
        assert await bar.read_dword(MSIX_TABLE + 16 * k + 12) == 1
    await pulse(dut, 0b1111)
    assert await env.pci.alloc_irq_vectors(VECTORS, VECTORS) == VECTORS
    await env.pci.clear_master()
    await Timer(200, "ns")
    await pulse(dut, 0b1111)
    await Timer(200, "ns")
    await env.pci.set_master()
    await Timer(2, "us")
    assert not sent(env)
    env.check()


@cocotb.test(timeout_time=100, timeout_unit="us")
async def follows_the_data(dut: Any) -> None:
    """An interrupt raised at B arrives after the write that B answers."""
    env = await start(dut)
    env.press(0.3, 0.5)
    env.host.map(BASE, 4096)
    for k in range(8):
        assert await env.axi.write(BASE + 256 * k, bytes(256)) == OKAY
        await pulse(dut, 1)
    await Timer(2, "us")
    kinds = ["irq" if t.address in MSI else "data" for t in env.host.writes]
    assert kinds.count("irq") == 8
    for k in range(len(kinds)):
        seen = kinds[: k + 1]
        assert seen.count("irq") <= seen.count("data")
    env.check()
