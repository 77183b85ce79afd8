"""The Transport over VFIO: the driver drives a real card from user space, behind the host's IOMMU.

`Kernel` is the system calls, one method each; `VfioDevice` opens a card with them (container, group, device,
registers, DMA memory, MSI-X eventfds); `VfioTransport` is what the driver sees. A test puts a simulated
device behind `Kernel`. Numbers and structures are those of linux/vfio.h; Documentation/driver-api/vfio.rst
has the order of the calls.
"""

from __future__ import annotations

import contextlib
import ctypes as C
import errno
import fcntl
import mmap
import os
import platform
import re
import resource
import select
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw_model import device_interface as di
from sw_model.device_interface import Reg
from sw_model.sched import WaitQueue, point

#: Vendor and device ID of the card's function, as in fpga/common/config.tcl.
PCI_ID = (0x1234, 0x5D31)
VECTORS = 4
HUGE = 2 << 20
NS_PER_CYCLE = 4
ALL_ONES = 0xFFFF_FFFF

VFIO_API_VERSION = 0
VFIO_TYPE1_IOMMU, VFIO_TYPE1v2_IOMMU = 1, 3
VFIO_GROUP_FLAGS_VIABLE = 1
VFIO_DEVICE_FLAGS_RESET, VFIO_DEVICE_FLAGS_PCI = 1, 2
VFIO_REGION_INFO_FLAG_MMAP = 4
VFIO_IRQ_SET_DATA_NONE, VFIO_IRQ_SET_DATA_EVENTFD, VFIO_IRQ_SET_ACTION_TRIGGER = 1, 4, 32
VFIO_DMA_MAP_FLAG_READ, VFIO_DMA_MAP_FLAG_WRITE = 1, 2
VFIO_IOMMU_INFO_CAPS = 2
VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE = 1
VFIO_PCI_BAR0_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX = 0, 7
VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_ERR_IRQ_INDEX, VFIO_PCI_REQ_IRQ_INDEX = 2, 3, 4

_TYPE, _BASE = ord(";"), 100


def _io(number: int) -> int:
    """_IO(VFIO_TYPE, VFIO_BASE + number)."""
    return _TYPE << 8 | _BASE + number


VFIO_GET_API_VERSION, VFIO_CHECK_EXTENSION, VFIO_SET_IOMMU = _io(0), _io(1), _io(2)
VFIO_GROUP_GET_STATUS, VFIO_GROUP_SET_CONTAINER, VFIO_GROUP_GET_DEVICE_FD = _io(3), _io(4), _io(6)
VFIO_DEVICE_GET_INFO, VFIO_DEVICE_GET_REGION_INFO, VFIO_DEVICE_GET_IRQ_INFO = _io(7), _io(8), _io(9)
VFIO_DEVICE_SET_IRQS, VFIO_DEVICE_RESET = _io(10), _io(11)
VFIO_IOMMU_GET_INFO, VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA = _io(12), _io(13), _io(14)

PCI_COMMAND, PCI_COMMAND_MEMORY, PCI_COMMAND_MASTER = 4, 2, 4
PCI_CAPABILITY_LIST, PCI_CAP_ID_EXP, PCI_EXP_DEVCTL2, PCI_EXP_DEVCTL2_ATOMIC_REQ = 0x34, 0x10, 0x28, 0x40


class _Sized(C.Structure):
    """A structure whose first member is its own size."""

    def __init__(self, **values: int) -> None:
        super().__init__(argsz=C.sizeof(self), **values)


def _fields(u32: str, u64: str = "") -> list[tuple[str, Any]]:
    return [(n, C.c_uint32) for n in u32.split()] + [(n, C.c_uint64) for n in u64.split()]


class vfio_group_status(_Sized):
    """struct vfio_group_status."""

    _fields_ = _fields("argsz flags")


class vfio_device_info(_Sized):
    """struct vfio_device_info, without its capabilities."""

    _fields_ = _fields("argsz flags num_regions num_irqs")


class vfio_region_info(_Sized):
    """struct vfio_region_info."""

    _fields_ = _fields("argsz flags index cap_offset", "size offset")


class vfio_irq_info(_Sized):
    """struct vfio_irq_info."""

    _fields_ = _fields("argsz flags index count")


class vfio_irq_set(C.Structure):
    """struct vfio_irq_set; its data follow it."""

    _fields_ = _fields("argsz flags index start count")


class vfio_iommu_type1_info(_Sized):
    """struct vfio_iommu_type1_info; capabilities follow it."""

    _fields_ = [*_fields("argsz flags", "iova_pgsizes"), ("cap_offset", C.c_uint32)]


class vfio_info_cap_header(C.Structure):
    """struct vfio_info_cap_header."""

    _fields_ = [("id", C.c_uint16), ("version", C.c_uint16), ("next", C.c_uint32)]


class vfio_iommu_type1_dma_map(_Sized):
    """struct vfio_iommu_type1_dma_map."""

    _fields_ = _fields("argsz flags", "vaddr iova size")


class vfio_iommu_type1_dma_unmap(_Sized):
    """struct vfio_iommu_type1_dma_unmap."""

    _fields_ = _fields("argsz flags", "iova size")


class VfioError(Exception):
    """The card cannot be used; one line that says what, where, and what to do."""


class Registers:
    """A mapped window of a BAR: each access is one 32-bit load or store."""

    def __init__(self, fd: int, nbytes: int, offset: int) -> None:
        """Raises OSError where the kernel does not allow the mapping."""
        self._map = mmap.mmap(fd, nbytes, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset)
        self._words = memoryview(self._map).cast("I")

    def load(self, offset: int) -> int:
        """The register at a byte offset; all ones when the card does not answer."""
        return self._words[offset >> 2]

    def store(self, offset: int, value: int) -> None:
        """Post a write; stores made to memory before are visible to the card first (x86 order)."""
        self._words[offset >> 2] = value

    def close(self) -> None:
        """Unmap."""
        self._words.release()
        self._map.close()


class Kernel:
    """The system calls that the transport makes. All raise OSError as Linux does."""

    def __init__(self) -> None:
        """Raises VfioError on a processor whose stores need barriers that Python has not."""
        if platform.machine() not in ("x86_64", "AMD64"):
            raise VfioError(f"{platform.machine()}: the transport relies on x86 store order; use an x86 host")

    def read_text(self, path: str) -> str:
        """Contents of a sysfs file."""
        with open(path) as f:
            return f.read().strip()

    def link_name(self, path: str) -> str:
        """Last component of what a sysfs link points to."""
        return os.path.basename(os.readlink(path))

    def list_dir(self, path: str) -> list[str]:
        """Names in a directory."""
        return sorted(os.listdir(path))

    def open(self, path: str) -> int:
        """open(2) for reading and writing."""
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def close(self, fd: int) -> None:
        """close(2)."""
        os.close(fd)

    def ioctl(self, fd: int, request: int, arg: Any = 0) -> int:
        """ioctl(2) with a number, or with a writable buffer that the call may change."""
        return fcntl.ioctl(fd, request, arg)

    def pread(self, fd: int, nbytes: int, offset: int) -> bytes:
        """pread(2)."""
        return os.pread(fd, nbytes, offset)

    def pwrite(self, fd: int, data: bytes, offset: int) -> None:
        """pwrite(2)."""
        os.pwrite(fd, data, offset)

    def registers(self, fd: int, nbytes: int, offset: int) -> Registers:
        """mmap(2) of device registers."""
        return Registers(fd, nbytes, offset)

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        """Zeroed anonymous memory, aligned to 2 MiB, in huge pages where there are some, not for a child."""
        region = mmap.mmap(-1, nbytes + HUGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        for advice in (mmap.MADV_HUGEPAGE, mmap.MADV_DONTFORK):
            with contextlib.suppress(OSError):  # a kernel without THP
                region.madvise(advice)
        raw = np.frombuffer(region, np.uint8)
        skip = -raw.ctypes.data % HUGE
        return raw[skip : skip + nbytes]

    def eventfd(self) -> int:
        """eventfd(2), non-blocking."""
        return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def wait(self, fds: Sequence[int], ns: int) -> list[int]:
        """Wait up to `ns` for eventfds; those that were signalled, now clear. Below 1 ms it only looks."""
        poll = select.poll()
        for fd in fds:
            poll.register(fd, select.POLLIN)
        fired = [fd for fd, _ in poll.poll(ns // 1_000_000)]
        for fd in fired:
            os.eventfd_read(fd)
        return fired

    def now(self) -> int:
        """Nanoseconds of the monotonic clock."""
        return time.monotonic_ns()

    def memlock_limit(self) -> int:
        """RLIMIT_MEMLOCK in bytes; negative when there is none."""
        return resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]


def iova_ranges(info: bytes) -> list[tuple[int, int]]:
    """First and last IOVA of each range in what VFIO_IOMMU_GET_INFO returned; [] when it does not say."""
    head = vfio_iommu_type1_info.from_buffer_copy(info)
    at = head.cap_offset if head.flags & VFIO_IOMMU_INFO_CAPS else 0
    while at:
        cap = vfio_info_cap_header.from_buffer_copy(info, at)
        if cap.id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE:
            (n,) = struct.unpack_from("=I", info, at + 8)
            return [struct.unpack_from("=QQ", info, at + 16 + 16 * i) for i in range(n)]
        at = cap.next
    return []


def place(ranges: Sequence[tuple[int, int]], nbytes: int, bits: int) -> int | None:
    """The lowest 2-MiB-aligned IOVA above 0 with `nbytes` in one range and below 2**bits; None without."""
    for first, last in sorted(ranges):
        base = -(-max(first, HUGE) // HUGE) * HUGE
        if base + nbytes - 1 <= min(last, (1 << bits) - 1):
            return base
    return None


class VfioDevice:
    """A card opened through VFIO, with `memory` of the host mapped for it at `bus_base`.

    VFIO pins the memory (it counts against RLIMIT_MEMLOCK), so its frames stay where they are; mlock(2)
    would have it counted twice. A context manager.
    """

    #: What x86 leaves when the kernel tells no ranges: everything but the interrupt window.
    DEFAULT_RANGES = ((0, 0xFEDF_FFFF), (0xFEF0_0000, (1 << 39) - 1))

    def __init__(self, bdf: str, memory_bytes: int = 64 << 20, kernel: Kernel | None = None) -> None:
        """Opens, resets and checks the card. Raises VfioError."""
        if not re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", bdf):
            raise VfioError(f"{bdf}: not a PCI address; it looks like 0000:03:00.0 (`lspci -D`)")
        self.bdf = bdf
        self.kernel = kernel or Kernel()
        self._sys = f"/sys/bus/pci/devices/{bdf}"
        self._undo = contextlib.ExitStack()
        try:
            self._check_identity()
            self._group = self._find_group()
            self._open_group()
            self._open_device()
            self._map_registers()
            self._map_memory(memory_bytes)
            self.irqs = self._route(VFIO_PCI_MSIX_IRQ_INDEX, VECTORS, needed=True)
            self.errors = self._route(VFIO_PCI_ERR_IRQ_INDEX, 1)
            self.requests = self._route(VFIO_PCI_REQ_IRQ_INDEX, 1)
            self._allow_atomic_ops()
            self._command(PCI_COMMAND_MASTER, 0)
            self._later(self._command, 0, PCI_COMMAND_MASTER)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Bus mastering off, memory unmapped, everything closed; harmless twice."""
        self._undo.close()

    def _later(self, call: Callable[..., object], *args: Any) -> None:
        """Undo something in close(), even where the card is gone."""

        def quietly() -> None:
            with contextlib.suppress(OSError, VfioError):
                call(*args)

        self._undo.callback(quietly)

    def __enter__(self) -> VfioDevice:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # ---- sysfs -------------------------------------------------------------------------------------------

    def _check_identity(self) -> None:
        try:
            found = tuple(int(self.kernel.read_text(f"{self._sys}/{n}"), 16) for n in ("vendor", "device"))
        except FileNotFoundError:
            raise VfioError(
                f"{self.bdf}: no such PCI function; load the bitstream, then echo 1 > /sys/bus/pci/rescan"
            ) from None
        if found != PCI_ID:
            wanted = "{:04x}:{:04x}".format(*PCI_ID)
            raise VfioError(
                f"{self.bdf} has ID {found[0]:04x}:{found[1]:04x}, not {wanted}; "
                f"find the card with lspci -D -d {wanted}"
            )

    def _find_group(self) -> str:
        try:
            group = self.kernel.link_name(f"{self._sys}/iommu_group")
        except OSError:
            raise VfioError(
                f"{self.bdf} is in no IOMMU group; switch the IOMMU on in the firmware "
                "and boot with intel_iommu=on or amd_iommu=on"
            ) from None
        driver = self._driver_of(self.bdf)
        if driver != "vfio-pci":
            raise VfioError(
                f"{self.bdf} is bound to {driver or 'no driver'}; modprobe vfio-pci, then "
                f"driverctl set-override {self.bdf} vfio-pci"
            )
        return group

    def _driver_of(self, bdf: str) -> str:
        try:
            return self.kernel.link_name(f"/sys/bus/pci/devices/{bdf}/driver")
        except OSError:
            return ""

    # ---- container, group, device ------------------------------------------------------------------------

    def _open(self, path: str) -> int:
        try:
            fd = self.kernel.open(path)
        except OSError as e:
            raise VfioError(self._why_not_open(path, e)) from None
        self._later(self.kernel.close, fd)
        return fd

    def _why_not_open(self, path: str, e: OSError) -> str:
        if e.errno in (errno.EACCES, errno.EPERM):
            return f"no permission for {path}; chown it to your user (docs/board.md), or run as root"
        if e.errno == errno.ENOENT and path == "/dev/vfio/vfio":
            return f"no {path}: the kernel has no VFIO, or its module is not there; modprobe vfio-pci"
        if e.errno == errno.ENODEV:
            return f"{path} has no driver behind it; modprobe vfio-pci"
        if e.errno == errno.ENOENT:
            return (
                f"no {path}: {self.bdf} is not held by vfio-pci; driverctl set-override {self.bdf} vfio-pci"
            )
        if e.errno == errno.EBUSY:
            return f"{path} is in use by another process; end it (fuser -v {path})"
        return f"{path}: {e.strerror}; see dmesg"

    def _open_group(self) -> None:
        ioctl = self.kernel.ioctl
        self._container = self._open("/dev/vfio/vfio")
        version = ioctl(self._container, VFIO_GET_API_VERSION)
        if version != VFIO_API_VERSION:
            raise VfioError(
                f"/dev/vfio/vfio has API version {version}, not {VFIO_API_VERSION}; use Linux 3.6 on"
            )
        kinds = (VFIO_TYPE1v2_IOMMU, VFIO_TYPE1_IOMMU)
        kind = next((k for k in kinds if ioctl(self._container, VFIO_CHECK_EXTENSION, k)), None)
        if kind is None:
            raise VfioError("/dev/vfio/vfio has no type-1 IOMMU; modprobe vfio_iommu_type1")
        path = f"/dev/vfio/{self._group}"
        group = self._group_fd = self._open(path)
        status = vfio_group_status()
        ioctl(group, VFIO_GROUP_GET_STATUS, status)
        if not status.flags & VFIO_GROUP_FLAGS_VIABLE:
            others = self.kernel.list_dir(f"/sys/kernel/iommu_groups/{self._group}/devices")
            held = [
                f"{b} ({d})" for b in others if (d := self._driver_of(b)) not in ("", "vfio-pci", "pcieport")
            ]
            raise VfioError(
                f"IOMMU group {self._group} is not viable: {', '.join(held) or 'a function of it'} has a "
                "host driver; bind every function of the group to vfio-pci"
            )
        self._try(f"{path}: cannot join a container", ioctl, group, VFIO_GROUP_SET_CONTAINER,
                  C.c_int(self._container))  # fmt: skip
        self._try(f"{path}: the IOMMU cannot be set up", ioctl, self._container, VFIO_SET_IOMMU, kind)

    def _try(self, what: str, call: Any, *args: Any) -> Any:
        try:
            return call(*args)
        except OSError as e:
            raise VfioError(f"{self.bdf}: {what}: {e.strerror}; see dmesg") from None

    def _open_device(self) -> None:
        k = self.kernel
        name = bytearray(self.bdf.encode() + b"\0")
        self._fd = self._try("cannot be opened", k.ioctl, self._group_fd, VFIO_GROUP_GET_DEVICE_FD, name)
        self._later(k.close, self._fd)
        info = vfio_device_info()
        k.ioctl(self._fd, VFIO_DEVICE_GET_INFO, info)
        if not info.flags & VFIO_DEVICE_FLAGS_PCI:
            raise VfioError(f"{self.bdf}: VFIO does not call it a PCI function; see dmesg")
        if info.flags & VFIO_DEVICE_FLAGS_RESET:
            self._try("reset failed", k.ioctl, self._fd, VFIO_DEVICE_RESET)

    # ---- registers ---------------------------------------------------------------------------------------

    def _region(self, index: int) -> vfio_region_info:
        info = vfio_region_info(index=index)
        self._try(f"region {index}", self.kernel.ioctl, self._fd, VFIO_DEVICE_GET_REGION_INFO, info)
        return info

    def _config(self, at: int, on: int = 0, off: int = 0) -> int:
        """Set and clear bits of a 16-bit word of configuration space; what it was before."""
        at += self._region(VFIO_PCI_CONFIG_REGION_INDEX).offset
        (value,) = struct.unpack("<H", self.kernel.pread(self._fd, 2, at))
        if on or off:
            self.kernel.pwrite(self._fd, struct.pack("<H", value & ~off | on), at)
        return value

    def _command(self, on: int, off: int) -> None:
        self._config(PCI_COMMAND, on, off)

    def _allow_atomic_ops(self) -> None:
        """Let the card send AtomicOps (pci_enable_atomic_ops_to_root); a host may still refuse them."""
        at = self._config(PCI_CAPABILITY_LIST) & 0xFC
        while at:
            head = self._config(at)
            if head & 0xFF == PCI_CAP_ID_EXP:
                self._config(at + PCI_EXP_DEVCTL2, PCI_EXP_DEVCTL2_ATOMIC_REQ)
            at = head >> 8 & 0xFC

    def _map_registers(self) -> None:
        bar = self._region(VFIO_PCI_BAR0_REGION_INDEX)
        if bar.size < di.BAR0_BYTES:
            raise VfioError(
                f"{self.bdf}: BAR0 has {bar.size} bytes, the device has {di.BAR0_BYTES}; "
                "the bitstream is of another design, or the BIOS gave it no address (dmesg)"
            )
        if not bar.flags & VFIO_REGION_INFO_FLAG_MMAP:
            raise VfioError(f"{self.bdf}: BAR0 cannot be mapped; see dmesg")
        self._command(PCI_COMMAND_MEMORY, PCI_COMMAND_MASTER)
        # The MSI-X table is the kernel's; old kernels refuse a mapping that holds it.
        self.registers = self._try("BAR0", self.kernel.registers, self._fd, di.MSIX_TABLE_OFFSET, bar.offset)
        self._later(self.registers.close)
        magic = self.registers.load(Reg.ID)
        if magic == ALL_ONES:
            raise VfioError(
                f"{self.bdf}: registers read as all ones, the card is gone; reload it and rescan the bus"
            )
        if magic != di.MAGIC:
            raise VfioError(
                f"{self.bdf}: register ID is {magic:#010x}, not {di.MAGIC:#010x}; "
                "the bitstream is of another design"
            )

    # ---- memory ------------------------------------------------------------------------------------------

    def _iova_ranges(self) -> list[tuple[int, int]]:
        info = vfio_iommu_type1_info()
        self.kernel.ioctl(self._container, VFIO_IOMMU_GET_INFO, info)
        data = bytearray(max(info.argsz, C.sizeof(info)))
        struct.pack_into("=I", data, 0, len(data))
        self.kernel.ioctl(self._container, VFIO_IOMMU_GET_INFO, data)
        return iova_ranges(bytes(data)) or list(self.DEFAULT_RANGES)

    def _map_memory(self, nbytes: int) -> None:
        bits = self.registers.load(Reg.CAP1) >> 16 & 0xFF
        base = place(self._iova_ranges(), nbytes, bits)
        if base is None:
            raise VfioError(
                f"{self.bdf}: no {nbytes >> 20} MiB of bus addresses are free below 2^{bits}; "
                "ask for less (--memory)"
            )
        self.bus_base = base
        self.memory = self.kernel.allocate(nbytes)
        flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE
        m = vfio_iommu_type1_dma_map(flags=flags, vaddr=self.memory.ctypes.data, iova=base, size=nbytes)
        try:
            self.kernel.ioctl(self._container, VFIO_IOMMU_MAP_DMA, m)
        except OSError as e:
            if e.errno == errno.ENOMEM:
                limit = self.kernel.memlock_limit() >> 10
                raise VfioError(
                    f"{nbytes >> 10} KiB cannot be locked, the limit is {limit} KiB; "
                    f"ulimit -l {2 * nbytes >> 10} (limits.conf: memlock), or ask for less (--memory)"
                ) from None
            raise VfioError(f"{self.bdf}: DMA map at {base:#x}: {e.strerror}; see dmesg") from None
        unmap = vfio_iommu_type1_dma_unmap(iova=base, size=nbytes)
        self._later(self.kernel.ioctl, self._container, VFIO_IOMMU_UNMAP_DMA, unmap)

    # ---- interrupts --------------------------------------------------------------------------------------

    def _route(self, index: int, n: int, needed: bool = False) -> list[int]:
        """Eventfds for the first `n` vectors of an interrupt index; [] where the card has none."""
        info = vfio_irq_info(index=index)
        try:
            self.kernel.ioctl(self._fd, VFIO_DEVICE_GET_IRQ_INFO, info)
        except OSError:
            info.count = 0
        if info.count < n:
            if needed:
                raise VfioError(
                    f"{self.bdf}: {info.count} MSI-X vectors, the driver needs {n}; "
                    "compare lspci -vv with fpga/common/config.tcl"
                )
            return []
        fds = []
        for _ in range(n):
            fds.append(self.kernel.eventfd())
            self._later(self.kernel.close, fds[-1])
        self._set_irqs(index, VFIO_IRQ_SET_DATA_EVENTFD, fds)
        self._later(self._set_irqs, index, VFIO_IRQ_SET_DATA_NONE, [])
        return fds

    def _set_irqs(self, index: int, kind: int, fds: list[int]) -> None:
        head = vfio_irq_set(0, kind | VFIO_IRQ_SET_ACTION_TRIGGER, index, 0, len(fds))
        head.argsz = C.sizeof(head) + 4 * len(fds)
        data = bytearray(bytes(head) + struct.pack(f"={len(fds)}i", *fds))
        self._try("interrupts", self.kernel.ioctl, self._fd, VFIO_DEVICE_SET_IRQS, data)


class VfioTransport:
    """Transport over an open card (sw_model.transport.Transport).

    Run it with `Scheduler(strategy, clock=kernel)` and `sched.run(idle=transport.idle)`: the kernel threads
    live in the host's time. `hang_ns`: how long the host waits without an interrupt before it gives up.
    """

    def __init__(self, device: VfioDevice, hang_ns: int = 30_000_000_000) -> None:
        self.device = device
        self.kernel = device.kernel
        self.memory: NDArray[np.uint8] = device.memory
        self.bus_base = device.bus_base
        self.hang_ns = hang_ns
        self.irq_wq = [WaitQueue(f"irq{v}") for v in range(VECTORS)]
        self.irq_seen = [False] * VECTORS
        self.irq_count = [0] * VECTORS
        self._fds = [*device.irqs, *device.errors, *device.requests]
        self._waited = 0

    async def read_reg(self, offset: int) -> int:
        """32-bit register at a byte offset in BAR0. Earlier writes have landed (PCIe keeps their order).

        Raises OSError(ENODEV) when the device is gone (reads as all ones).
        """
        await point("mmio", self)
        return self._load(offset)

    def _load(self, offset: int) -> int:
        value = self.device.registers.load(offset)
        if value == ALL_ONES:
            raise OSError(errno.ENODEV, f"{self.device.bdf} is gone: registers read as all ones; see dmesg")
        return value

    async def write_reg(self, offset: int, value: int) -> None:
        """Post a 32-bit write to a register: it lands later, in order with other writes."""
        await point("mmio", self)
        self.device.registers.store(offset, value)

    async def wait_irq(self, vector: int) -> None:
        """Wait for an interrupt on `vector` since the last return; several may have merged."""
        await self.irq_wq[vector].wait(lambda: self.irq_seen[vector])
        self.irq_seen[vector] = False

    def now(self) -> int:
        """The host's time in device cycles (of 4 ns), for reports only."""
        return self.kernel.now() // NS_PER_CYCLE

    def idle(self, deadline: int | None) -> bool:
        """For Scheduler.run: wait for interrupts until `deadline` (ns), and wake whoever waits for them.

        Raises OSError: ENODEV (gone), EIO (PCIe error), ESHUTDOWN (the host wants the card back),
        ETIMEDOUT (`hang_ns` without an interrupt).
        """
        start = self.kernel.now()
        left = self.hang_ns - self._waited
        if deadline is not None:
            left = min(left, deadline - start)
        fired = self.kernel.wait(self._fds, max(0, left))
        for fd in fired:
            self._deliver(fd)
        self._waited = 0 if fired else self._waited + self.kernel.now() - start
        if self._waited >= self.hang_ns:
            self._load(Reg.ID)
            raise OSError(
                errno.ETIMEDOUT,
                f"{self.device.bdf}: no interrupt for {self.hang_ns // 10**9} s, {self.irq_count} before; "
                "compare lspci -vv (MSI-X: Enable+, BusMaster+) and dmesg (DMAR, AER)",
            )
        return True

    def _deliver(self, fd: int) -> None:
        if fd in self.device.errors:
            raise OSError(errno.EIO, f"{self.device.bdf}: uncorrectable PCIe error; see dmesg (AER)")
        if fd in self.device.requests:
            raise OSError(errno.ESHUTDOWN, f"{self.device.bdf}: the host wants the card back")
        v = self.device.irqs.index(fd)
        self.irq_seen[v] = True
        self.irq_count[v] += 1
        self.irq_wq[v].wake_all()
