"""F7 as merged: the end of a range calls mmput() with the driver's lock held."""

from __future__ import annotations

from sw_model.explore.config import Mutant
from sw_model.explore.world import ToyMm

MUTANT = Mutant(
    "f7_mmput",
    "the range was the last user of the mm: exit_mmap() and release() run under the driver's lock",
    "reading: hmm_range_unregister() calls mmput(), nouveau calls it under svmm->mutex; not reported",
    "range_x_exit",
    "KernelBug",
    [(ToyMm, "mmput_async", ToyMm.mmput)],
    entries=("F7",),
)
