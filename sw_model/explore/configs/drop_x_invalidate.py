"""A pin of the mm_struct is dropped during a reclaim; then the mirror goes, and with it the hmm."""

from __future__ import annotations

from sw_model.explore.generations import config
from sw_model.mirror_api import MIRROR

CONFIG = config("drop_x_invalidate", MIRROR)
