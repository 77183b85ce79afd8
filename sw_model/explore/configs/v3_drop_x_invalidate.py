"""A pin of the mm_struct is dropped during a reclaim; then the mirror goes, and with it the hmm, HMM v3."""

from __future__ import annotations

from sw_model.explore.generations import config
from sw_model.mirror_api import OLD_V3

CONFIG = config("drop_x_invalidate", OLD_V3)
