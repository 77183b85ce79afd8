"""The page is reaped without blocking, against a registration and a fault, HMM v1."""

from __future__ import annotations

from sw_model.explore.generations import config
from sw_model.mirror_api import OLD_V1

CONFIG = config("nonblock_x_fault", OLD_V1, open_bug="v1_nonblock")
