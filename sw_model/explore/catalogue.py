"""The published bugs, by number: which mutant stands for which, and why some have none.

B: the patch "mm/hmm: use reference counting for HMM struct" (v1 of January 2019); F: later fixes to mm/hmm.c
and mm/mmu_notifier.c; D: drivers; C: the kernels of today, confirmed on Linux 6.1.192 or read in its sources.
"""

from __future__ import annotations

from sw_model.explore.config import Mutant, mutants

#: every entry, in order
ENTRIES = [
    f"{kind}{n}" for kind, last in (("B", 20), ("F", 22), ("D", 18), ("C", 12)) for n in range(1, last + 1)
]

#: entries that no run of this model can show, and why
UNEXPRESSED: dict[str, str] = {
    "F5": "a condition tested once more before wait_event_timeout(): the same behaviour",
    "F6": "list_*_rcu() where every reader holds the lock: the same behaviour",
    "F8": "lockdep assertions in place of comments: the same behaviour",
    "F10": "poisoning is a debugging aid; kfree() of the model always poisons",
}


def by_entry() -> dict[str, list[Mutant]]:
    """The mutants of each entry; an empty list where there is none."""
    return {e: [m for m in mutants().values() if e in m.entries] for e in ENTRIES}


def unexplained() -> list[str]:
    """Entries with neither a mutant nor a reason, and those with both."""
    return [e for e, found in by_entry().items() if bool(found) == (e in UNEXPRESSED)]
