"""The last mirror goes, and is freed, while the process exits, HMM v1."""

from __future__ import annotations

from sw_model.explore.generations import config
from sw_model.mirror_api import OLD_V1

CONFIG = config("unregister_x_exit", OLD_V1, open_bug="B3, B5, B6, B12")
