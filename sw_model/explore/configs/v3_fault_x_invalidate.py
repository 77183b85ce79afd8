"""One fault against one reclaim, mirror API, HMM v3."""

from __future__ import annotations

from sw_model.explore.generations import config
from sw_model.mirror_api import OLD_V3

CONFIG = config("fault_x_invalidate", OLD_V3, open_bug="B13")
