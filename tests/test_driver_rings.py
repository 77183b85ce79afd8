"""Rings: batches, wrap-around, phase; what the driver remembers of the device."""

from __future__ import annotations

import random

import numpy as np
import pytest

from sw_model.device_interface import CMD, DONE
from sw_model.driver import Shadow
from sw_model.rings import COUNT_MASK, Consumer, Producer, ring_pages


def test_pages() -> None:
    assert [ring_pages(n) for n in (4, 7, 8, 16)] == [1, 1, 2, 512]


@pytest.mark.parametrize("seed", range(10))
def test_producer_wraps(seed: int) -> None:
    rng = random.Random(seed)
    memory = np.zeros(8192, np.uint8)
    ring = Producer(memory, 4096, 4)
    ring.tail = ring.head = COUNT_MASK - 7
    ring.head = ring.tail
    sent = []
    taken = 0
    for _ in range(60):
        n = rng.randint(0, ring.free)
        tags = np.arange(len(sent), len(sent) + n, dtype=np.uint64)
        rows = CMD.pack(tag=tags) if n else np.zeros((0, 4), np.uint64)
        assert ring.post(rows) == (COUNT_MASK - 7 + len(sent)) & COUNT_MASK
        sent += range(len(sent), len(sent) + n)
        for _ in range(rng.randint(0, 16 - ring.free)):
            row = ring.rows[ring.head & 15]
            assert CMD.unpack(row)["tag"] == taken
            taken += 1
            ring.head = (ring.head + 1) & COUNT_MASK
    with pytest.raises(OverflowError):
        ring.post(np.zeros((ring.free + 1, 4), np.uint64))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("log2", [4, 5])
def test_consumer_wraps(seed: int, log2: int) -> None:
    rng = random.Random(seed)
    memory = np.zeros(4096, np.uint8)
    ring = Consumer(memory, 0, log2)
    size = 1 << log2
    tail = 0
    seen: list[int] = []
    for _ in range(200):
        for _ in range(rng.randint(0, size - (tail - len(seen)))):
            ring.rows[tail % size] = DONE.pack(index=tail, phase=1 - ((tail & COUNT_MASK) >> log2 & 1))[0]
            tail += 1
        got = ring.harvest(rng.choice((1, 3, 1 << 16)))
        seen += DONE.get(got, "index").tolist()
        assert ring.head == len(seen) & COUNT_MASK
    assert seen == list(range(len(seen))) and len(seen) > 300


def test_shadow_remembers_what_may_be_in_flight() -> None:
    s = Shadow()
    assert not s.overlaps(0, 1 << 36)
    assert s.grant(510, 515) == []
    assert s.overlaps(0, 511) and s.overlaps(514, 1 << 36) and not s.overlaps(515, 1 << 36)
    assert s.clear(511, 513) and not s.overlaps(511, 513) and s.overlaps(513, 514)
    assert s.grant_huge(1)
    assert s.clear(600, 601) and not s.overlaps(600, 601)
    assert s.overlaps(601, 602), "the device drops all of it, but accesses may still use the rest"
    assert s.grant(600, 601) == [1] and s.overlaps(700, 701)
    assert s.clear(0, 1 << 36) and not s.chunks and not s.huge
    assert not s.clear(0, 1 << 36)


@pytest.mark.parametrize("seed", range(10))
def test_shadow_against_a_set(seed: int) -> None:
    rng = random.Random(seed)
    s, want = Shadow(), set()
    for _ in range(300):
        a = rng.randrange(3000)
        b = a + rng.choice((1, 2, 30, 700))
        op = rng.randrange(3)
        if op == 0:
            s.grant(a, b)
            want |= set(range(a, b))
        elif op == 1:
            assert s.clear(a, b) == bool(want & set(range(a, b)))
            want -= set(range(a, b))
        else:
            assert s.overlaps(a, b) == bool(want & set(range(a, b)))
