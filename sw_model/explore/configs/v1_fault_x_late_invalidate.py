"""One fault against a reclaim that begins when the entry has been read; usage 2, HMM v1."""

from __future__ import annotations

from sw_model.explore.generations import config
from sw_model.mirror_api import OLD_V1

CONFIG = config("fault_x_late_invalidate", OLD_V1, open_bug="B15")
