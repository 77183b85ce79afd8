"""hmm_range_fault() of two pages in generated states, compared with the table of results."""

from __future__ import annotations

from sw_model.explore.config import Config
from sw_model.explore.hmm_world import states_build

CONFIG = Config(
    "interval_states",
    "hmm_range_fault() of two pages in generated states, compared with the table of results.",
    "interval",
    states_build(4),
    exhaustive=False,
)
