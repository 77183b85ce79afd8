"""A schedule found host-only, on the RTL: the same threads in the same order, the device's steps by name."""

from __future__ import annotations

from typing import Any

from sw_model.explore.full import step_name
from sw_model.explore.runner import Outcome
from sw_model.sched import Thread

#: what the RTL does by itself after the step before
_BY_ITSELF = ("fetch", "accept", "lookup")
_MARK = "device: "

#: thread and, for a step of the device, its name
Item = tuple[int, str | None]


def plan_of(out: Outcome) -> list[Item]:
    """The steps of a traced host-only run that the RTL has too."""
    plan: list[Item] = []
    device = {tid for tid, name in out.names.items() if name == "device"}
    for tid, text, is_note in out.events:
        if not is_note:
            if tid not in device:
                plan.append((tid, None))
        elif text.startswith(_MARK) and text.removeprefix(_MARK).split()[0] not in _BY_ITSELF:
            plan.append((tid, text.removeprefix(_MARK)))
    return plan


class Follow:
    """A strategy that follows a plan; what cannot run then is left out, behind the end nothing switches."""

    def __init__(self, plan: list[Item]) -> None:
        self.plan = plan
        self.device: Any = None
        self._at = 0
        self._want = 0

    def step(self, runnable: list[Thread], last: Thread | None) -> Thread:
        """The thread of the plan; called at every step."""
        self._want = 0
        while self._at < len(self.plan):
            tid, label = self.plan[self._at]
            self._at += 1
            thread = next((t for t in runnable if t.id == tid), None)
            if thread is not None and (label is None or self._find(label)):
                return thread
        return last if last in runnable and last is not None else min(runnable, key=lambda t: t.id)

    pick = step

    def choose(self, n: int) -> int:
        """The step of the plan."""
        return self._want

    def _find(self, label: str) -> bool:
        """Look for the step of this name, else for one of its kind."""
        names = [step_name(s) for s in self.device.steps()]
        kinds = [n.split()[0] for n in names]
        if label in names:
            self._want = names.index(label)
        elif label.split()[0] in kinds and not label.startswith("irq"):
            self._want = kinds.index(label.split()[0])
        else:
            return False
        return True
