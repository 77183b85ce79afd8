"""One fault against a reclaim that begins when the entry has been read; "usage 2" where it is allowed."""

from __future__ import annotations

from sw_model.explore.generations import config
from sw_model.mirror_api import MIRROR

CONFIG = config("fault_x_late_invalidate", MIRROR)
