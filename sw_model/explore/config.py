"""What is explored (Config), what is broken on purpose (Mutant), and where both are found."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sw_model.sched import Scheduler

#: makes the world and spawns its threads; the result checks the world once all is quiet
Build = Callable[[Scheduler], Callable[[], None]]


@dataclass(frozen=True)
class Config:
    """A small configuration. `stack` says what it runs: "interval", "mirror" (both small) or "full"."""

    name: str
    about: str
    stack: str
    build: Build
    #: may be enumerated by DPOR: all shared state is in tracked objects
    exhaustive: bool = True
    #: exhausting it takes a minute or more: the standard set samples it
    long: bool = False
    #: further classes that hold shared state, for DPOR
    tracked: tuple[type, ...] = ()
    #: why it fails as it stands: what it runs is an old generation with that bug open
    open_bug: str = ""


@dataclass(frozen=True)
class Mutant:
    """A published bug, put back by patches (object, attribute, value) while the mutant is on.

    Without patches it is open in the code that its configuration runs (an old generation of HMM).
    """

    name: str
    about: str
    reference: str
    #: the configuration that shows it
    config: str
    #: the failure that tells: a name of runner.KINDS
    symptom: str
    patches: Sequence[tuple[Any, str, Any]] = field(default_factory=list)
    #: entries of sw_model.explore.catalogue that it stands for
    entries: tuple[str, ...] = ()
    #: what the text of its failure contains; a search goes on behind other failures
    shows: str = ""
    #: the seeded strategy that finds it soonest, for short tests
    strategy: str = "random"

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """With the bug."""
        old = [(o, n, getattr(o, n)) for o, n, _ in self.patches]
        for o, n, v in self.patches:
            setattr(o, n, v)
        try:
            yield
        finally:
            for o, n, v in reversed(old):
                setattr(o, n, v)


def _modules(package: str) -> Iterator[Any]:
    root = importlib.import_module(package)
    for info in pkgutil.iter_modules(root.__path__):
        yield importlib.import_module(f"{package}.{info.name}")


@cache
def configs() -> dict[str, Config]:
    """All configurations by name: CONFIG of every file in configs/."""
    return {m.CONFIG.name: m.CONFIG for m in _modules("sw_model.explore.configs")}


@cache
def mutants() -> dict[str, Mutant]:
    """All mutants by name: MUTANT of every file in mutants/."""
    return {m.MUTANT.name: m.MUTANT for m in _modules("sw_model.explore.mutants")}
