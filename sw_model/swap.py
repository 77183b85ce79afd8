"""A swap device with its swap cache: slots of one page, counted by the page-table entries that name them."""

from __future__ import annotations

import errno


class SwapArea:
    """`count[slot]`: entries in page tables; `cache[slot]`: the page in the swap cache.

    A slot is free when its count is 0 and nothing is cached for it.
    """

    def __init__(self, nr_slots: int) -> None:
        self.nr_slots = nr_slots
        self.free = list(range(nr_slots, 0, -1))  # slot 0 is the header, as in Linux
        self.count: dict[int, int] = {}
        self.data: dict[int, bytes] = {}
        self.cache: dict[int, int] = {}

    @property
    def nr_used(self) -> int:
        """Slots in use."""
        return len(self.count)

    def alloc(self) -> int:
        """A slot with count 0. Raises OSError(ENOMEM) when the device is full (folio_alloc_swap)."""
        if not self.free:
            raise OSError(errno.ENOMEM, "swap is full")
        slot = self.free.pop()
        self.count[slot] = 0
        return slot

    def dup(self, slot: int) -> None:
        """One more page-table entry names the slot (swap_duplicate)."""
        self.count[slot] += 1

    def release(self, slot: int) -> None:
        """One entry less (swap_free); the slot becomes free when nothing is cached either."""
        n = self.count[slot] - 1
        assert n >= 0, f"swap slot {slot} underflow"
        self.count[slot] = n
        self.put_unused(slot)

    def put_unused(self, slot: int) -> None:
        """Free the slot when no entry and no cached page is left."""
        if self.count[slot] == 0 and slot not in self.cache:
            del self.count[slot]
            self.data.pop(slot, None)
            self.free.append(slot)
