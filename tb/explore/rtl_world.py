"""The worlds of the full stack (sw_model.explore.full) with the RTL as their device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from sw_model.device_interface import WORK, Work
from sw_model.explore.full import FullWorld
from sw_model.func_device import PAGE_SHIFT
from tb import build, plants
from tb.explore.contract import ContractWorld
from tb.explore.gated import RtlDevice
from tb.session import DEVICES


def library(plant: str | None = None) -> Path:
    """The simulation of the small device, built if needed: as it is, or the one with all plants in it.

    Raises ValueError for a plant that there is none, BuildError.
    """
    if plant is None:
        return build.library(build.Design.of(params=DEVICES["small"]))
    plant_number(plant)
    return build.library(build.Design.of(params=DEVICES["small"], rtl=plants.make_tree()))


def plant_number(name: str) -> int:
    """What arms an RTL plant of tb.plants; ValueError for an unknown name."""
    names = [p.name for p in (*plants.RTL, *plants.EXPLORED)]
    if name not in names:
        raise ValueError(f"no plant {name}: `python -m tb.explore list` shows them")
    return 1 + names.index(name)


@contextlib.contextmanager
def on_rtl(
    plant: str | None = None, compare: bool = True, made: list[RtlDevice] | None = None
) -> Iterator[None]:
    """Inside, every FullWorld and ContractWorld has the RTL as its device, with a plant if one is named.

    The devices are appended to `made`.
    """
    lib = library(plant)

    def make_device(memory: NDArray[np.uint8]) -> RtlDevice:
        with plants.armed(plant_number(plant) if plant else 0):
            dev = RtlDevice(memory, lib, compare=compare)
        if made is not None:
            made.append(dev)
        return dev

    device = staticmethod(make_device)
    with (
        mock.patch.multiple(FullWorld, make_device=device, at_end=at_end),
        mock.patch.object(ContractWorld, "make_device", device, create=True),
    ):
        yield


def at_end(world: FullWorld) -> None:
    """The end of a run: the device owes nothing, and has no translation left that it may not have.

    It is given a read of every page that it has used and may not hold: that goes nowhere before the host has
    answered. Raises Stale, Mismatch.
    """
    dev: RtlDevice = world.dev
    dev.at_rest()
    world.check.at_end()
    pages = np.array([vpn << PAGE_SHIFT for p, vpn in dev.unknown_pages() if p == world.pasid], np.uint64)
    if not len(pages):
        return
    submit = world.eng.submit(WORK.pack(op=int(Work.READ), va=pages, pasid=world.pasid, len=8))
    with contextlib.suppress(StopIteration):
        while True:
            submit.send(None)
    while steps := [s for s in dev.steps() if s[0] in ("reg", "work", "respond")]:
        dev.step(steps[0])
