"""Which runnable thread goes next: random, PCT, bounded preemption (depth first) and recorded choices.

A strategy is made for one run (`pick` at every step) or, if it enumerates, for many: `begin` starts a run and
`advance` prepares the next one, False when nothing is left. `arg` is what a line needs to repeat the run.
"""

from __future__ import annotations

import re
from typing import Protocol

from sw_model.sched import Thread

_MASK = (1 << 64) - 1


class Strategy(Protocol):
    """See the module. `last` is the thread that ran the previous step, None after it ended or slept."""

    def pick(self, runnable: list[Thread], last: Thread | None) -> Thread:
        """One of `runnable`, which has two or more."""

    def choose(self, n: int) -> int:
        """Which of n things happens now (a step of the device, the next operation), n >= 2."""


class _Seeded:
    """A 64-bit linear congruential generator: cheap to start, good enough in its upper bits."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._state = (seed * 0x9E3779B97F4A7C15 + 0xD1B54A32D192ED03) & _MASK

    def below(self, n: int) -> int:
        """A number from 0 to n - 1."""
        s = self._state = (self._state * 6364136223846793005 + 1442695040888963407) & _MASK
        return (s >> 33) % n

    def choose(self, n: int) -> int:
        """Any."""
        return self.below(n)


class Random(_Seeded):
    """A random walk: every runnable thread is as likely."""

    name = "random"

    @property
    def arg(self) -> str:
        """seed=..."""
        return f"seed={self.seed}"

    def pick(self, runnable: list[Thread], last: Thread | None) -> Thread:
        """Any."""
        s = self._state = (self._state * 6364136223846793005 + 1442695040888963407) & _MASK
        return runnable[(s >> 33) % len(runnable)]


class Pct(_Seeded):
    """Probabilistic concurrency testing: random priorities, lowered at depth - 1 random steps below `steps`.

    A bug of depth d in n threads and k steps is found with probability 1/(n * k**(d-1)) or more.
    """

    name = "pct"

    def __init__(self, seed: int, depth: int = 3, steps: int = 80) -> None:
        super().__init__(seed)
        self.depth = depth
        self.steps = steps
        self._priority: dict[int, int] = {}
        self._changes = {self.below(steps): -1 - i for i in range(depth - 1)}
        self._at = 0

    @property
    def arg(self) -> str:
        """seed=...,depth=...,steps=..."""
        return f"seed={self.seed},depth={self.depth},steps={self.steps}"

    def pick(self, runnable: list[Thread], last: Thread | None) -> Thread:
        """The one of highest priority."""
        priority = self._priority
        for t in runnable:
            if t.id not in priority:
                priority[t.id] = self.below(1 << 30)
        best = max(runnable, key=lambda t: priority[t.id])
        drop = self._changes.get(self._at)
        self._at += 1
        if drop is not None:
            priority[best.id] = drop
            best = max(runnable, key=lambda t: priority[t.id])
        return best


def _keep(runnable: list[Thread], last: Thread | None) -> Thread:
    """No switch if possible, else the oldest thread."""
    if last is not None and last in runnable:
        return last
    return min(runnable, key=lambda t: t.id)


class Choices:
    """Recorded choices: "0x4.1x9.0x2/0.3": thread 0 for 4 steps, thread 1 for 9, ...; then device choices.

    A thread that cannot run ends its piece; behind the last piece there is no switch unless forced.
    """

    name = "choices"

    def __init__(self, pieces: list[tuple[int, int]], device: list[int] | None = None) -> None:
        self.pieces = pieces
        self.device_choices = device or []
        self._piece = 0
        self._left = pieces[0][1] if pieces else 0
        self._dev = 0

    @classmethod
    def parse(cls, text: str) -> Choices:
        """From the text of a line; ValueError if it is none."""
        if not re.fullmatch(r"(\d+x\d+(\.\d+x\d+)*)?(/(\d+(\.\d+)*)?)?", text):
            raise ValueError(f"not a choice list: {text!r}")
        threads, _, device = text.partition("/")
        pieces = []
        for piece in filter(None, threads.split(".")):
            t, n = piece.split("x")
            pieces.append((int(t), int(n)))
        return cls(pieces, [int(d) for d in device.split(".") if d])

    @property
    def arg(self) -> str:
        """The text."""
        text = ".".join(f"{t}x{n}" for t, n in self.pieces)
        return text + ("/" + ".".join(map(str, self.device_choices)) if self.device_choices else "")

    def step(self, runnable: list[Thread], last: Thread | None) -> Thread:
        """The thread of the list; called at every step, also where only one thread can run."""
        while self._piece < len(self.pieces):
            want = self.pieces[self._piece][0]
            if self._left > 0:
                for t in runnable:
                    if t.id == want:
                        self._left -= 1
                        return t
            self._piece += 1
            if self._piece < len(self.pieces):
                self._left = self.pieces[self._piece][1]
        return _keep(runnable, last)

    def pick(self, runnable: list[Thread], last: Thread | None) -> Thread:
        """As step."""
        return self.step(runnable, last)

    def choose(self, n: int) -> int:
        """The recorded one, 0 behind the end."""
        i = self._dev
        self._dev += 1
        return min(self.device_choices[i], n - 1) if i < len(self.device_choices) else 0


def pieces_of(ids: list[int]) -> list[tuple[int, int]]:
    """Run lengths of a list of thread ids."""
    out: list[tuple[int, int]] = []
    for t in ids:
        if out and out[-1][0] == t:
            out[-1] = (t, out[-1][1] + 1)
        else:
            out.append((t, 1))
    return out


class Preempt:
    """Depth first through every schedule with at most `bound` preemptions (None: any number).

    A preemption takes the processor from a thread that could go on; other switches are free. The device's
    choices are enumerated too and cost nothing.
    """

    name = "preempt"

    def __init__(self, bound: int | None = 2) -> None:
        self.bound = bound
        self._stack: list[tuple[int, int]] = []  # (choice, number of choices)
        self._depth = 0
        self._used = 0

    @property
    def arg(self) -> str:
        """bound=...; a run of it is repeated from its choices."""
        return f"bound={self.bound}"

    def begin(self) -> None:
        """Start a run."""
        self._depth = self._used = 0

    def _choose(self, n: int) -> int:
        if n == 1:
            return 0
        d = self._depth
        self._depth += 1
        if d == len(self._stack):
            self._stack.append((0, n))
            return 0
        i, m = self._stack[d]
        if m != n:
            raise RuntimeError(f"not deterministic: {n} choices at depth {d}, before {m}")
        return i

    def pick(self, runnable: list[Thread], last: Thread | None) -> Thread:
        """The next one in the order of the enumeration."""
        ts = sorted(runnable, key=lambda t: t.id)
        if last is None or last not in runnable:
            return ts[self._choose(len(ts))]
        if self.bound is not None and self._used >= self.bound:
            return last
        ts.remove(last)
        i = self._choose(len(ts) + 1)
        if not i:
            return last
        self._used += 1
        return ts[i - 1]

    def choose(self, n: int) -> int:
        """The next one in the order of the enumeration."""
        return self._choose(n)

    def advance(self) -> bool:
        """To the next schedule; False when all have been run."""
        del self._stack[self._depth :]
        while self._stack:
            i, n = self._stack.pop()
            if i + 1 < n:
                self._stack.append((i + 1, n))
                return True
        return False
