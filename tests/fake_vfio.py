"""A double of the kernel for the VFIO transport: its own rules are VFIO's, the card behind it is simulated.

Nothing here is the real kernel: no IOMMU translates and no page is pinned. What is real is everything above
`sw_model.vfio.Kernel` and the device: the functional model, or the RTL in the harness. The device reaches
host memory through the address that the transport handed to VFIO_IOMMU_MAP_DMA, and only while bus
mastering is on.
"""

from __future__ import annotations

import ctypes as C
import errno
import os
import random
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sw_model import device_interface as di
from sw_model import vfio as v
from sw_model.func_device import Access, FuncDevice
from tb.sim import EV_IRQ, EV_LIMIT, NS_PER_CYCLE, HarnessConfig, open_harness

BDF = "0000:03:00.0"
GROUP = "17"
MIB = 1 << 20
FREE_IOVA = 0x1_0000_0000
#: Name by request number, for the calls that the transport makes.
IOCTLS = {n: name for name, n in vars(v).items() if name.startswith("VFIO_") and n >> 8 == ord(";")}


class Card(Protocol):
    """What is behind BAR0."""

    def dma(self, vaddr: int, iova: int, nbytes: int) -> None:
        """The IOMMU maps host memory."""

    def load(self, offset: int) -> int:
        """Read a register."""

    def store(self, offset: int, value: int) -> None:
        """Post a write."""

    def step(self) -> bool:
        """Go on a little; False when nothing can happen."""

    def irqs(self) -> list[int]:
        """Vectors sent since the last call."""


class _Device(FuncDevice):
    """The functional model with interrupts that leave it."""

    def __init__(self, sent: list[int], *args: Any, **kw: Any) -> None:
        super().__init__(*args, **kw)
        self.sent = sent

    def _do_irq(self, vector: int) -> None:
        super()._do_irq(vector)
        self.sent.append(vector)

    def _bytes(self, a: Access) -> NDArray[np.uint8]:
        assert a.used is not None
        self._translate((a.used.pfn + a.vpn - a.used.vpn << 12) - self.bus_base, a.nbytes)
        return super()._bytes(a)

    def _slot(self, name: str, count: int) -> NDArray[np.uint64]:
        self._translate(self._ring(name)[0], 32 << self._ring(name)[1])
        return super()._slot(name, count)

    def _translate(self, offset: int, nbytes: int) -> None:
        inside = offset >= 0 and offset + nbytes <= self.memory.nbytes
        assert inside, f"DMAR: no mapping at {self.bus_base + offset:#x}"


class FuncCard:
    """The functional model as a card."""

    def __init__(self, seed: int = 1) -> None:
        self.rng = random.Random(seed)
        self.sent: list[int] = []
        memory = np.zeros(4096, np.uint8)
        self.device = _Device(self.sent, memory, seed, mshrs=8, park=16, capacity=64)

    def dma(self, vaddr: int, iova: int, nbytes: int) -> None:
        self.device.memory = np.ctypeslib.as_array((C.c_uint8 * nbytes).from_address(vaddr))
        self.device.bus_base = iova

    def load(self, offset: int) -> int:
        return _now(self.device.read_reg(offset))

    def store(self, offset: int, value: int) -> None:
        _now(self.device.write_reg(offset, value))
        for _ in range(self.rng.randrange(4)):
            self.step()

    def step(self) -> bool:
        return self.device.idle(None)

    def irqs(self) -> list[int]:
        sent = self.sent[:]
        self.sent.clear()
        return sent


def _now(coro: Any) -> Any:
    """Run a coroutine through its points."""
    try:
        while True:
            coro.send(None)
    except StopIteration as e:
        return e.value


class RtlCard:
    """The RTL in the harness as a card; `memory` is what the kernel is going to hand out."""

    def __init__(self, memory: NDArray[np.uint8], iova: int, seed: int = 1) -> None:
        self.memory, self.iova = memory, iova
        config = HarnessConfig.preset("default")
        self.harness = open_harness(seed=seed, memory=memory, bus_base=iova, config=config)

    def dma(self, vaddr: int, iova: int, nbytes: int) -> None:
        assert (vaddr, iova, nbytes) == (self.memory.ctypes.data, self.iova, self.memory.nbytes)

    def load(self, offset: int) -> int:
        return self.harness.reg_read(offset)

    def store(self, offset: int, value: int) -> None:
        self.harness.reg_write(offset, value)

    def step(self) -> bool:
        self.harness.check()
        self.harness.drop_logs()
        return not self.harness.run(50_000) & EV_LIMIT

    def irqs(self) -> list[int]:
        if not self.harness.take_events() & EV_IRQ:
            return []
        mask = self.harness.take_irqs()
        return [vector for vector in range(v.VECTORS) if mask >> vector & 1]


class _Window:
    """BAR0 as mmap would give it."""

    def __init__(self, kernel: FakeKernel) -> None:
        self.kernel = kernel
        self.open = True

    def load(self, offset: int) -> int:
        assert self.open and self.kernel.command & v.PCI_COMMAND_MEMORY and offset % 4 == 0
        with self.kernel.lock:
            return v.ALL_ONES if self.kernel.gone else self.kernel.card.load(offset)

    def store(self, offset: int, value: int) -> None:
        assert self.open and self.kernel.command & v.PCI_COMMAND_MEMORY and offset % 4 == 0
        with self.kernel.lock:
            if not self.kernel.gone:
                self.kernel.card.store(offset, value)

    def close(self) -> None:
        self.open = False


class FakeKernel:
    """Files, ioctls, mappings and eventfds of a host with one card, in virtual time.

    Attributes may be changed before the transport opens the card, to break something.
    """

    def __init__(self, card: Card, pool: NDArray[np.uint8] | None = None) -> None:
        self.card = card
        self.pool = pool
        self.lock = threading.RLock()
        self.gone = False
        # Capabilities: power management at 0x40, PCI Express at 0x70, MSI-X at 0xb0.
        self.config = bytearray(256)
        self.config[v.PCI_CAPABILITY_LIST] = 0x40
        for at, ident, following in ((0x40, 0x01, 0x70), (0x70, v.PCI_CAP_ID_EXP, 0xB0), (0xB0, 0x11, 0)):
            self.config[at : at + 2] = bytes((ident, following))
        self.id = {"vendor": f"{v.PCI_ID[0]:#06x}\n", "device": f"{v.PCI_ID[1]:#06x}\n"}
        self.links = {
            f"/sys/bus/pci/devices/{BDF}/iommu_group": f"../../../kernel/iommu_groups/{GROUP}",
            f"/sys/bus/pci/devices/{BDF}/driver": "../../../bus/pci/drivers/vfio-pci",
        }
        self.members = [BDF]
        self.open_errors: dict[str, int] = {}
        self.api_version = 0
        self.extensions = {v.VFIO_TYPE1_IOMMU, v.VFIO_TYPE1v2_IOMMU}
        self.viable = True
        self.bar_bytes = 1 << 16
        self.bar_flags = 7
        self.msix = 4
        self.memlock = -1
        self.ranges: list[tuple[int, int]] = [(0, 0xFEDF_FFFF), (FREE_IOVA, (1 << 48) - 1)]
        self.time = 0
        self.calls: list[str] = []
        self.fds: dict[int, str] = {}
        self.signals: dict[int, int] = {}
        self.routed: dict[int, list[int]] = {}
        self.mapped: dict[int, int] = {}
        self._joined = self._iommu = False

    # ---- files

    def read_text(self, path: str) -> str:
        directory, _, name = path.rpartition("/")
        if directory != f"/sys/bus/pci/devices/{BDF}":
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        return self.id[name].strip()

    def link_name(self, path: str) -> str:
        if path not in self.links:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        return self.links[path].rpartition("/")[2]

    def list_dir(self, path: str) -> list[str]:
        assert path == f"/sys/kernel/iommu_groups/{GROUP}/devices"
        return self.members

    def open(self, path: str) -> int:
        if code := self.open_errors.get(path, 0):
            raise OSError(code, os.strerror(code))
        kind = {"/dev/vfio/vfio": "container", f"/dev/vfio/{GROUP}": "group"}[path]
        return self._fd(kind)

    def _fd(self, kind: str) -> int:
        fd = 1000 + len(self.calls) + len(self.fds)
        while fd in self.fds:
            fd += 1
        self.fds[fd] = kind
        return fd

    def close(self, fd: int) -> None:
        del self.fds[fd]
        self.signals.pop(fd, None)

    # ---- ioctl

    def ioctl(self, fd: int, request: int, arg: Any = 0) -> int:
        name = next(
            n for n in dir(v) if n.startswith("VFIO_") and getattr(v, n) == request and request > 0x3B00
        )
        self.calls.append(name)
        call: Callable[[Any], int] = getattr(self, f"_{self.fds[fd]}_{name}")
        return call(arg)

    def _container_VFIO_GET_API_VERSION(self, arg: int) -> int:
        return self.api_version

    def _container_VFIO_CHECK_EXTENSION(self, arg: int) -> int:
        return int(arg in self.extensions)

    def _container_VFIO_SET_IOMMU(self, arg: int) -> int:
        if not self._joined:
            raise OSError(errno.EINVAL, "Invalid argument")
        assert arg in self.extensions
        self._iommu = True
        return 0

    def _group_VFIO_GROUP_GET_STATUS(self, arg: Any) -> int:
        assert arg.argsz == 8
        arg.flags = int(self.viable)
        return 0

    def _group_VFIO_GROUP_SET_CONTAINER(self, arg: Any) -> int:
        assert self.viable and self.fds[arg.value] == "container"
        self._joined = True
        return 0

    def _group_VFIO_GROUP_GET_DEVICE_FD(self, arg: bytearray) -> int:
        assert self._iommu and bytes(arg) == BDF.encode() + b"\0"
        return self._fd("device")

    def _device_VFIO_DEVICE_GET_INFO(self, arg: Any) -> int:
        assert arg.argsz >= 16
        arg.flags, arg.num_regions, arg.num_irqs = 3, 9, 5
        return 0

    def _device_VFIO_DEVICE_RESET(self, arg: int) -> int:
        return 0

    def _device_VFIO_DEVICE_GET_REGION_INFO(self, arg: Any) -> int:
        assert arg.argsz >= 32
        arg.offset = arg.index << 40
        if arg.index == v.VFIO_PCI_CONFIG_REGION_INDEX:
            arg.size, arg.flags = 4096, 3
        else:
            assert arg.index == v.VFIO_PCI_BAR0_REGION_INDEX
            arg.size, arg.flags = self.bar_bytes, self.bar_flags
        return 0

    def _device_VFIO_DEVICE_GET_IRQ_INFO(self, arg: Any) -> int:
        counts = {
            v.VFIO_PCI_MSIX_IRQ_INDEX: self.msix,
            v.VFIO_PCI_ERR_IRQ_INDEX: 1,
            v.VFIO_PCI_REQ_IRQ_INDEX: 1,
        }
        arg.count, arg.flags = counts[arg.index], 9
        return 0

    def _device_VFIO_DEVICE_SET_IRQS(self, arg: bytearray) -> int:
        argsz, flags, index, start, count = struct.unpack_from("=5I", arg)
        assert argsz == len(arg) == 20 + 4 * count and start == 0
        if not count:
            assert flags == v.VFIO_IRQ_SET_DATA_NONE | v.VFIO_IRQ_SET_ACTION_TRIGGER
            self.routed.pop(index)
            return 0
        assert flags == v.VFIO_IRQ_SET_DATA_EVENTFD | v.VFIO_IRQ_SET_ACTION_TRIGGER
        self.routed[index] = list(struct.unpack_from(f"={count}i", arg, 20))
        assert all(self.fds[fd] == "eventfd" for fd in self.routed[index])
        return 0

    def _container_VFIO_IOMMU_GET_INFO(self, arg: Any) -> int:
        """The fixed part, then two capabilities when the caller has room; the first is not about ranges."""
        size = C.sizeof(v.vfio_iommu_type1_info)
        caps = struct.pack("=HHI", 3, 1, size + 16) + struct.pack("=II", 65535, 0)
        caps += struct.pack("=HHIII", v.VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, 1, 0, len(self.ranges), 0)
        caps += b"".join(struct.pack("=QQ", *r) for r in self.ranges)
        raw = np.frombuffer(arg, np.uint8)
        (argsz,) = struct.unpack_from("=I", raw)
        room = argsz >= size + len(caps)
        flags = 3 if self.ranges else 1
        struct.pack_into("=IIQI", raw, 0, size + len(caps), flags, 0x40201000, size if room else 0)
        if room:
            raw[size : size + len(caps)] = np.frombuffer(caps, np.uint8)
        return 0

    def _container_VFIO_IOMMU_MAP_DMA(self, arg: Any) -> int:
        assert arg.argsz == 32 and arg.flags == 3 and arg.vaddr % 4096 == 0
        last = arg.iova + arg.size - 1
        if not any(lo <= arg.iova and last <= hi for lo, hi in self.ranges or v.VfioDevice.DEFAULT_RANGES):
            raise OSError(errno.EINVAL, "Invalid argument")
        if 0 <= self.memlock < arg.size:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        self.mapped[arg.iova] = arg.size
        self.card.dma(arg.vaddr, arg.iova, arg.size)
        return 0

    def _container_VFIO_IOMMU_UNMAP_DMA(self, arg: Any) -> int:
        assert self.mapped.pop(arg.iova) == arg.size
        assert not self.command & v.PCI_COMMAND_MASTER, "unmapped under a bus master"
        return 0

    # ---- configuration space, registers, memory

    @property
    def command(self) -> int:
        """The PCI command register."""
        return struct.unpack_from("<H", self.config, v.PCI_COMMAND)[0]

    @command.setter
    def command(self, value: int) -> None:
        struct.pack_into("<H", self.config, v.PCI_COMMAND, value)

    def pread(self, fd: int, nbytes: int, offset: int) -> bytes:
        assert self.fds[fd] == "device"
        at = offset - (7 << 40)
        assert 0 <= at <= len(self.config) - nbytes and at % nbytes == 0
        return bytes(self.config[at : at + nbytes])

    def pwrite(self, fd: int, data: bytes, offset: int) -> None:
        assert self.fds[fd] == "device"
        at = offset - (7 << 40)
        self.config[at : at + len(data)] = data

    def registers(self, fd: int, nbytes: int, offset: int) -> _Window:
        assert self.fds[fd] == "device" and offset == 0
        assert nbytes <= di.MSIX_TABLE_OFFSET, "a kernel before 4.16 refuses to map the MSI-X table"
        return _Window(self)

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        if self.pool is not None:
            assert nbytes == self.pool.nbytes
            return self.pool
        raw = np.zeros(nbytes + v.HUGE, np.uint8)
        skip = -raw.ctypes.data % v.HUGE
        return raw[skip : skip + nbytes]

    # ---- interrupts and time

    def eventfd(self) -> int:
        fd = self._fd("eventfd")
        self.signals[fd] = 0
        return fd

    def signal(self, fd: int) -> None:
        """What eventfd_signal() does."""
        self.signals[fd] += 1

    def now(self) -> int:
        return self.time

    def step(self) -> bool:
        """Let the card go on, if it may use the bus, and deliver its interrupts."""
        if not self.command & v.PCI_COMMAND_MASTER or self.gone:
            return False
        with self.lock:
            more = self.card.step()
            for vector in self.card.irqs():
                self.signal(self.routed[v.VFIO_PCI_MSIX_IRQ_INDEX][vector])
        return more

    def wait(self, fds: Sequence[int], ns: int) -> list[int]:
        end = self.time + ns
        while not any(self.signals[fd] for fd in fds) and self.time < end:
            self.time = self.time + NS_PER_CYCLE if self.step() else end
        fired = [fd for fd in fds if self.signals[fd]]
        for fd in fired:
            self.signals[fd] = 0
        return fired

    def memlock_limit(self) -> int:
        return self.memlock


class ThreadedKernel(FakeKernel):
    """The same with the card in a thread of its own, real eventfds and the host's clock."""

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        self.real = v.Kernel()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, name="card")
        self.thread.start()

    def _run(self) -> None:
        while not self.stop.is_set():
            if not self.step():
                self.stop.wait(0.0005)

    def eventfd(self) -> int:
        fd = self.real.eventfd()
        self.fds[fd] = "eventfd"
        return fd

    def close(self, fd: int) -> None:
        if self.fds.pop(fd) == "eventfd":
            self.real.close(fd)

    def signal(self, fd: int) -> None:
        os.eventfd_write(fd, 1)

    def now(self) -> int:
        return self.real.now()

    def wait(self, fds: Sequence[int], ns: int) -> list[int]:
        return self.real.wait(fds, ns)

    def join(self) -> None:
        """End the thread."""
        self.stop.set()
        self.thread.join()
