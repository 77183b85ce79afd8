"""The two reference counts of struct mm_struct, apart from what they keep alive.

mm_users counts who uses the address space, mm_count who holds the structure; all users together hold
one mm_count. The real mm and the small ones of the explorer and the tests count alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from sw_model.locking import current, warn_on
from sw_model.sched import point


class MmRefs:
    """Starts with mm_users 1 (the process) and mm_count 1 (all users together)."""

    name = "mm"

    def __init__(self) -> None:
        self.mm_users = 1
        self.mm_count = 1
        #: hmm_mm_destroy(), which __mmdrop() calls where a version of HMM has one
        self.hmm_mm_destroy: Callable[[Any], Awaitable[None]] | None = None

    async def exit_mmap(self) -> None:
        """The last user is gone: tear the address space down."""
        raise NotImplementedError

    def free_mm(self) -> None:
        """The last reference is gone: __mmdrop()."""
        raise NotImplementedError

    async def mmget(self) -> None:
        """mmget(): one more user; the caller knows that there is one."""
        await point("mm_users", self)
        warn_on(self.mm_users <= 0, f"mmget of dead {self.name}")
        self.mm_users += 1

    async def mmget_not_zero(self) -> bool:
        """mmget_not_zero(): one more user unless the last is gone (exit_mmap runs or ran)."""
        await point("mm_users", self)
        if self.mm_users <= 0:
            return False
        self.mm_users += 1
        return True

    async def mmput(self) -> None:
        """mmput(): one user less; the last tears the address space down and drops mm_count."""
        await point("mm_users", self)
        warn_on(self.mm_users <= 0, f"mmput of dead {self.name} (underflow)")
        self.mm_users -= 1
        if self.mm_users == 0:
            await self._last_user()

    async def mmput_async(self) -> None:
        """mmput_async(): as mmput(), but another thread tears the address space down.

        For callers with locks that exit_mmap() needs.
        """
        await point("mm_users", self)
        warn_on(self.mm_users <= 0, f"mmput of dead {self.name} (underflow)")
        self.mm_users -= 1
        if self.mm_users == 0:
            (await current()).sched.spawn(self._last_user(), "mmput_async")

    async def _last_user(self) -> None:
        await self.exit_mmap()
        await self.mmdrop()

    async def mmgrab(self) -> None:
        """mmgrab(): keep struct mm_struct, not its memory."""
        await point("mm_count", self)
        warn_on(self.mm_count <= 0, f"mmgrab of freed {self.name}")
        self.mm_count += 1

    async def mmdrop(self) -> None:
        """mmdrop(): the last one frees struct mm_struct."""
        await point("mm_count", self)
        warn_on(self.mm_count <= 0, f"mmdrop of freed {self.name} (underflow)")
        self.mm_count -= 1
        if self.mm_count == 0:
            if self.hmm_mm_destroy is not None:
                await self.hmm_mm_destroy(self)
            self.free_mm()
