"""One face for the versions of the mirror API, for drivers that run on any of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sw_model import hmm_mirror as hm
from sw_model.hmm_v1 import V1, HmmRange
from sw_model.hmm_v3 import V3


class MirrorApi:
    """sw_model.hmm_mirror. Functions are looked up when they are called: a mutant can replace them."""

    name = "mirror"
    api: Any = hm
    range_type: type[hm.StructHmmRange] = hm.HmmVmaRange
    #: hmm_mirror_register() notices when mmap_lock is not held
    checks_lock = True
    #: its comment lets a driver use the pfns that are not 0 without asking whether the range is valid
    usage2 = False
    #: -EBUSY: mmap_lock has been dropped, and its comment asks for hmm_vma_range_done()
    busy_drops_lock = False

    def range(
        self, vma: Any, start: int, end: int, default_flags: int = 0, pfns: NDArray[np.uint64] | None = None
    ) -> Any:
        """A struct hmm_range of [start, end), bytes."""
        return self.range_type(vma, start, end, pfns, default_flags)

    async def register(self, mirror: hm.HmmMirror, mm: Any) -> int:
        """hmm_mirror_register()."""
        return await self.api.hmm_mirror_register(mirror, mm)

    async def unregister(self, mirror: hm.HmmMirror) -> None:
        """hmm_mirror_unregister()."""
        await self.api.hmm_mirror_unregister(mirror)

    async def wait_idle(self, mirror: hm.HmmMirror) -> None:
        """Sleep while the process is being invalidated."""
        await self.api.hmm_mirror_wait_idle(mirror)

    async def get_pfns(self, mirror: hm.HmmMirror, rng: Any) -> int:
        """hmm_vma_get_pfns()."""
        return await self.api.hmm_vma_get_pfns(mirror, rng)

    async def fault(self, mirror: hm.HmmMirror, rng: Any, block: bool = True) -> int:
        """hmm_vma_fault()."""
        return await self.api.hmm_vma_fault(mirror, rng, block)

    async def done(self, rng: Any) -> bool:
        """hmm_vma_range_done()."""
        return await self.api.hmm_vma_range_done(rng)


class OldApi(MirrorApi):
    """sw_model.hmm_v1 or hmm_v3: a range finds its hmm through the mm, and there is nothing to wait for."""

    range_type = HmmRange
    checks_lock = False
    usage2 = True
    busy_drops_lock = True

    def __init__(self, name: str, api: Any) -> None:
        self.name = name
        self.api = api

    async def wait_idle(self, mirror: hm.HmmMirror) -> None:
        """No such function."""

    async def get_pfns(self, mirror: hm.HmmMirror, rng: Any) -> int:
        """hmm_vma_get_pfns()."""
        return await self.api.hmm_vma_get_pfns(rng)

    async def fault(self, mirror: hm.HmmMirror, rng: Any, block: bool = True) -> int:
        """hmm_vma_fault()."""
        return await self.api.hmm_vma_fault(rng, block)


MIRROR = MirrorApi()
OLD_V1 = OldApi("v1", V1)
OLD_V3 = OldApi("v3", V3)
#: by the name that a driver is given
MIRROR_APIS = {a.name: a for a in (MIRROR, OLD_V1, OLD_V3)}
