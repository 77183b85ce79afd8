"""One fault against one reclaim, mirror API."""

from __future__ import annotations

from sw_model.explore.generations import config
from sw_model.mirror_api import MIRROR

CONFIG = config("fault_x_invalidate", MIRROR)
