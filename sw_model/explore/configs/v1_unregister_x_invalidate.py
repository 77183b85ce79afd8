"""The last mirror goes, and is freed, while the page is reclaimed, HMM v1."""

from __future__ import annotations

from sw_model.explore.generations import config
from sw_model.mirror_api import OLD_V1

CONFIG = config("unregister_x_invalidate", OLD_V1, open_bug="B4, B20")
