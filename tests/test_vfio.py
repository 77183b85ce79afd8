"""The VFIO transport: numbers and structures against the kernel's header, the order of its calls, its error
lines, and the driver over it with the functional model and the RTL as the card (tests/fake_vfio.py)."""

from __future__ import annotations

import ctypes as C
import errno
import os
import subprocess
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sw_model import device_interface as di
from sw_model import vfio as v
from sw_model.device_interface import Reg, Work, WorkStatus
from sw_model.scenarios import Plan, Rig, chosen
from sw_model.sched import RandomStrategy, Scheduler, sleep
from tests.fake_vfio import BDF, FREE_IOVA, MIB, FakeKernel, FuncCard, RtlCard, ThreadedKernel

STRUCTURES = [
    c for c in vars(v).values() if isinstance(c, type) and issubclass(c, C.Structure) and "vfio" in c.__name__
]
NUMBERS = [n for n, value in vars(v).items() if n.startswith(("VFIO_", "PCI_")) and isinstance(value, int)]
IOMMU_CALLS = ["VFIO_IOMMU_GET_INFO", "VFIO_IOMMU_GET_INFO", "VFIO_IOMMU_MAP_DMA"]


def over(
    kernel: FakeKernel, main: Callable[[Rig], Coroutine[Any, Any, None]], mib: int = 8, seed: int = 1
) -> None:
    """Run a coroutine over the transport, with driver and engine probed, and everything closed afterwards."""
    with v.VfioDevice(BDF, mib * MIB, kernel) as device:  # type: ignore[arg-type]
        transport = v.VfioTransport(device)
        rig = Rig(transport, Scheduler(RandomStrategy(seed), kernel), seed)
        rig.run(main, transport.idle)


# ---- the header --------------------------------------------------------------------------------------------


def test_numbers_and_structures_are_the_kernels(tmp_path: Path) -> None:
    """A C program prints what linux/vfio.h says of every name that the transport uses."""
    lines = [f'printf("{n} %llu\\n", (unsigned long long)({n}));' for n in NUMBERS]
    for s in STRUCTURES:
        lines += [
            f'printf("{s.__name__}.{f} %zu\\n", offsetof(struct {s.__name__}, {f}));'
            f'printf("{s.__name__}.{f}# %zu\\n", sizeof(((struct {s.__name__} *)0)->{f}));'
            for f, _ in s._fields_
        ]
        lines.append(f'printf("{s.__name__} %zu\\n", sizeof(struct {s.__name__}));')
    source = tmp_path / "vfio.c"
    includes = "<linux/vfio.h>", "<linux/pci_regs.h>", "<stddef.h>", "<stdio.h>"
    text = (
        "".join(f"#include {i}\n" for i in includes)
        + "int main(void) {\n"
        + "\n".join(lines)
        + "\nreturn 0; }\n"
    )
    source.write_text(text)
    subprocess.run(["g++", "-x", "c", "-o", tmp_path / "vfio", source], check=True)
    out = subprocess.run([tmp_path / "vfio"], check=True, capture_output=True, text=True).stdout
    kernel = {k: int(n) for k, n in (line.split() for line in out.splitlines())}
    assert len(NUMBERS) >= 30 and len(STRUCTURES) == 9
    assert {n: getattr(v, n) for n in NUMBERS} == {n: kernel[n] for n in NUMBERS}
    for s in STRUCTURES:
        for f, kind in s._fields_:
            assert getattr(s, f).offset == kernel[f"{s.__name__}.{f}"], (s, f)
            assert C.sizeof(kind) == kernel[f"{s.__name__}.{f}#"], (s, f)
        # What has no argsz is used for its size; of the others the kernel takes the shorter, older one.
        assert C.sizeof(s) <= kernel[s.__name__]
    assert C.sizeof(v.vfio_irq_set) == kernel["vfio_irq_set"]
    assert C.sizeof(v.vfio_info_cap_header) == kernel["vfio_info_cap_header"]


def test_real_calls_work_on_this_kernel() -> None:
    """What needs no card: allocation, eventfds, waiting, the clock, and an ioctl's errno."""
    k = v.Kernel()
    memory = k.allocate(4 * MIB)
    assert memory.ctypes.data % v.HUGE == 0 and memory.nbytes == 4 * MIB and not memory.any()
    memory[-1] = 1
    a, b = k.eventfd(), k.eventfd()
    os.eventfd_write(b, 3)
    assert k.wait([a, b], 0) == [b] and k.wait([a, b], 0) == []
    with pytest.raises(OSError) as e:
        k.ioctl(a, v.VFIO_GET_API_VERSION)
    assert e.value.errno in (errno.ENOTTY, errno.EINVAL)
    k.close(a)
    k.close(b)
    assert k.now() <= k.now() and k.memlock_limit() != 0


def test_registers_are_words(tmp_path: Path) -> None:
    """A mapped file stands for a BAR."""
    path = tmp_path / "bar"
    path.write_bytes(bytes(range(16)) + bytes(8192 - 16))
    fd = os.open(path, os.O_RDWR)
    regs = v.Registers(fd, 8192, 0)
    assert regs.load(4) == 0x07060504
    regs.store(8, 0x12345678)
    assert path.read_bytes()[4:13] == b"\4\5\6\7\x78\x56\x34\x12\x0c"
    regs.close()
    os.close(fd)


# ---- bus addresses -----------------------------------------------------------------------------------------


def test_iova_is_in_a_range_and_below_the_devices_limit() -> None:
    assert v.place([(0, (1 << 48) - 1)], 64 * MIB, 48) == v.HUGE
    assert v.place([(0, 0xFEDF_FFFF), (0xFEF0_0000, 1 << 40)], 4 << 30, 48) == 0xFF00_0000
    assert v.place([(0x1000, 16 * MIB)], 15 * MIB, 48) is None
    assert v.place([(1 << 47, (1 << 57) - 1)], 1 << 47, 48) == 1 << 47
    assert v.place([(1 << 48, (1 << 57) - 1)], MIB, 48) is None
    assert v.place([], MIB, 48) is None


@pytest.mark.parametrize(
    "ranges,want",
    [
        ([(0, 0xFFF), (FREE_IOVA, FREE_IOVA * 2)], FREE_IOVA),
        ([(0x1234_5000, 1 << 36)], 0x1240_0000),
        ([], v.HUGE),
    ],
)
def test_the_kernels_ranges_are_honoured(ranges: list[tuple[int, int]], want: int) -> None:
    kernel = FakeKernel(FuncCard())
    kernel.ranges = ranges
    with v.VfioDevice(BDF, 4 * MIB, kernel) as device:  # type: ignore[arg-type]
        assert device.bus_base == want and kernel.mapped == {want: 4 * MIB}
    assert not kernel.mapped


# ---- open and close ----------------------------------------------------------------------------------------


def test_order_of_the_calls_and_nothing_left_open() -> None:
    kernel = FakeKernel(FuncCard())
    device = v.VfioDevice(BDF, 4 * MIB, kernel)  # type: ignore[arg-type]
    calls = [c for c in kernel.calls if "_INFO" not in c and "CHECK" not in c and c != "VFIO_DEVICE_SET_IRQS"]
    assert calls == [
        "VFIO_GET_API_VERSION", "VFIO_GROUP_GET_STATUS", "VFIO_GROUP_SET_CONTAINER", "VFIO_SET_IOMMU",
        "VFIO_GROUP_GET_DEVICE_FD", "VFIO_DEVICE_RESET", "VFIO_IOMMU_MAP_DMA",
    ]  # fmt: skip
    assert kernel.command == v.PCI_COMMAND_MEMORY | v.PCI_COMMAND_MASTER
    assert {i: len(fds) for i, fds in kernel.routed.items()} == {2: 4, 3: 1, 4: 1}
    assert kernel.config[0x70 + v.PCI_EXP_DEVCTL2] == v.PCI_EXP_DEVCTL2_ATOMIC_REQ
    assert sum(kernel.config[0x42:0x70]) + sum(kernel.config[0xB2:]) == 0
    device.close()
    device.close()
    assert (
        kernel.command == v.PCI_COMMAND_MEMORY and not kernel.fds and not kernel.routed and not kernel.mapped
    )


def change(**changes: Any) -> Callable[[FakeKernel], None]:
    """Set attributes of the kernel's double."""
    return lambda k: vars(k).update(changes)


def refuse(path: str, code: int) -> Callable[[FakeKernel], None]:
    """open(2) of a file fails."""
    return lambda k: k.open_errors.update({path: code})


def magic(value: int) -> Callable[[FakeKernel], None]:
    """Another ID register."""

    def plant(k: FakeKernel) -> None:
        k.card.load = lambda offset: value  # type: ignore[method-assign]

    return plant


def driver(name: str | None) -> Callable[[FakeKernel], None]:
    """Another driver, or none."""

    def plant(k: FakeKernel) -> None:
        del k.links[f"/sys/bus/pci/devices/{BDF}/driver"]
        if name:
            k.links[f"/sys/bus/pci/devices/{BDF}/driver"] = f"../drivers/{name}"

    return plant


def not_viable(k: FakeKernel) -> None:
    k.viable = False
    k.members = [BDF, "0000:03:00.1"]
    k.links["/sys/bus/pci/devices/0000:03:00.1/driver"] = "../drivers/snd_hda_intel"


VFIO, GROUP = "/dev/vfio/vfio", "/dev/vfio/17"
ID = {"vendor": "0x8086", "device": "0x1533"}
Plant = Callable[[FakeKernel], Any]
REFUSALS: dict[str, tuple[Plant, str]] = {
    "wrong card": (change(id=ID), "has ID 8086:1533, not 1234:5d31; find the card"),
    "no IOMMU": (
        lambda k: k.links.pop(f"/sys/bus/pci/devices/{BDF}/iommu_group"),
        "is in no IOMMU group; switch the IOMMU on",
    ),
    "no driver": (driver(None), "is bound to no driver; modprobe vfio-pci, then driverctl"),
    "other driver": (driver("xdma"), "is bound to xdma; modprobe vfio-pci"),
    "no /dev/vfio": (refuse(VFIO, errno.ENOENT), f"no {VFIO}: the kernel has no VFIO"),
    "no module": (refuse(VFIO, errno.ENODEV), f"{VFIO} has no driver behind it; modprobe"),
    "no permission": (refuse(GROUP, errno.EACCES), f"no permission for {GROUP}; chown it"),
    "no group file": (refuse(GROUP, errno.ENOENT), f"no {GROUP}: {BDF} is not held by vfio-pci"),
    "in use": (refuse(GROUP, errno.EBUSY), f"{GROUP} is in use by another process; end it"),
    "other API": (change(api_version=1), f"{VFIO} has API version 1, not 0"),
    "no type 1": (change(extensions={8}), "has no type-1 IOMMU; modprobe vfio_iommu_type1"),
    "not viable": (
        not_viable,
        "group 17 is not viable: 0000:03:00.1 (snd_hda_intel) has a host driver; bind every",
    ),
    "small BAR": (change(bar_bytes=4096), f"BAR0 has 4096 bytes, the device has {di.BAR0_BYTES}; the"),
    "BAR without mmap": (change(bar_flags=3), "BAR0 cannot be mapped"),
    "gone": (change(gone=True), "registers read as all ones, the card is gone; reload it"),
    "other design": (magic(0x1234), "register ID is 0x00001234, not 0x314d5653; the bitstream"),
    "few vectors": (change(msix=1), "1 MSI-X vectors, the driver needs 4; compare lspci"),
    "no room": (change(ranges=[(0, 4 * MIB)]), "no 4 MiB of bus addresses are free below 2^48; ask"),
    "memlock": (change(memlock=MIB), "4096 KiB cannot be locked, the limit is 1024 KiB; ulimit -l 8192"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_card_that_cannot_be_used_is_one_line(case: str) -> None:
    """Says what, where and what to do; everything opened so far is closed."""
    kernel = FakeKernel(FuncCard())
    plant, text = REFUSALS[case]
    plant(kernel)
    with pytest.raises(v.VfioError) as e:
        v.VfioDevice(BDF, 4 * MIB, kernel)  # type: ignore[arg-type]
    assert text in str(e.value) and "\n" not in str(e.value)
    assert not kernel.fds and not kernel.mapped and not kernel.command & v.PCI_COMMAND_MASTER


@pytest.mark.parametrize(
    "bdf,text", [("03:00.0", "not a PCI address"), ("0000:04:00.0", "no such PCI function")]
)
def test_an_address_without_a_card(bdf: str, text: str) -> None:
    with pytest.raises(v.VfioError, match=text):
        v.VfioDevice(bdf, 4 * MIB, FakeKernel(FuncCard()))  # type: ignore[arg-type]


# ---- in use ------------------------------------------------------------------------------------------------


async def traffic(rig: Rig) -> None:
    """CPU and device see the same memory, through faults, and an invalidation is waited for."""
    p = await rig.process()
    at = await p.map(8)
    await p.mm.store(at, bytes(range(8)))
    (done,) = await rig.work(Work.COPY, p.pasid, at + 4096, 8, src=at)
    assert done["status"] == WorkStatus.OK and await p.mm.load(at + 4096, 8) == bytes(range(8))
    await p.mm.munmap(at, 4096)
    (done,) = await rig.work(Work.READ, p.pasid, at, 8)
    assert done["status"] == WorkStatus.SLVERR
    assert rig.driver.stats["faults"] >= 3 and rig.driver.stats["invalidations"] >= 1
    await rig.end(p)


def test_driver_over_the_functional_model() -> None:
    kernel = FakeKernel(FuncCard())
    over(kernel, traffic)
    assert not kernel.fds and kernel.command == v.PCI_COMMAND_MEMORY


@pytest.mark.parametrize("main", [traffic, Plan(chosen(["munmap"])).run], ids=["traffic", "munmap"])
def test_driver_over_the_rtl(main: Callable[[Rig], Coroutine[Any, Any, None]]) -> None:
    pool = np.zeros(8 * MIB + v.HUGE, np.uint8)
    skip = -pool.ctypes.data % v.HUGE
    pool = pool[skip : skip + 8 * MIB]
    card = RtlCard(pool, FREE_IOVA)
    kernel = FakeKernel(card, pool)
    kernel.ranges = [(FREE_IOVA, 1 << 40)]
    try:
        over(kernel, main)
        card.harness.check()
    finally:
        card.harness.close()


def test_card_in_a_thread_of_its_own() -> None:
    """Interrupts come through real eventfds at any time."""
    kernel = ThreadedKernel(FuncCard())
    try:
        over(kernel, traffic)
    finally:
        kernel.join()


def test_a_card_that_may_not_use_the_bus_never_answers() -> None:
    """Bus mastering off: the wait ends after its time, and the message says where to look."""
    kernel = FakeKernel(FuncCard())

    async def main(rig: Rig) -> None:
        kernel.command &= ~v.PCI_COMMAND_MASTER
        await rig.process()

    with pytest.raises(OSError, match=r"no interrupt for 30 s.*BusMaster") as e:
        over(kernel, main)
    assert e.value.errno == errno.ETIMEDOUT and kernel.time >= 30 * 10**9


def test_a_card_that_goes_away() -> None:
    """Reads as all ones end the run, whether somebody reads a register or everybody waits."""
    for read in (True, False):
        kernel = FakeKernel(FuncCard())

        async def main(rig: Rig, kernel: FakeKernel = kernel, read: bool = read) -> None:
            kernel.gone = True
            await (rig.transport.read_reg(Reg.ID) if read else rig.process())

        with pytest.raises(
            OSError, match=r"0000:03:00\.0 is gone: registers read as all ones; see dmesg"
        ) as e:
            over(kernel, main)
        assert e.value.errno == errno.ENODEV and not kernel.fds


@pytest.mark.parametrize(
    "index,code", [(v.VFIO_PCI_ERR_IRQ_INDEX, errno.EIO), (v.VFIO_PCI_REQ_IRQ_INDEX, errno.ESHUTDOWN)]
)
def test_errors_that_the_kernel_announces(index: int, code: int) -> None:
    kernel = FakeKernel(FuncCard())

    async def main(rig: Rig) -> None:
        kernel.signal(kernel.routed[index][0])
        await sleep(1000)

    with pytest.raises(OSError) as e:
        over(kernel, main)
    assert e.value.errno == code
