"""B20: the notifier's own reference is the last one, and it is freed under the walk."""

from __future__ import annotations

from sw_model.explore.config import Mutant

MUTANT = Mutant(
    "b20",
    "the callback's own hmm_put() frees the node that the walk stands on",
    "seed patch; F1",
    "v1_unregister_x_invalidate",
    "UseAfterFree",
    entries=("B20", "F1"),
    shows=".next of a freed MmuNotifier",
)
