"""B6: struct hmm does not pin its mm; hmm_free() uses it after dropping the notifier's pin."""

from __future__ import annotations

from sw_model.explore.config import Mutant

MUTANT = Mutant(
    "b6",
    "hmm_free() takes page_table_lock of an mm_struct that has been freed",
    "seed patch; F3",
    "v1_unregister_x_exit",
    "UseAfterFree",
    entries=("B6", "F3"),
    shows="page_table_lock of a freed",
)
