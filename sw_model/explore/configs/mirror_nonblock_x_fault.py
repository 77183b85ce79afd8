"""The page, which the device has, is reaped without blocking, against a registration and a fault."""

from __future__ import annotations

from sw_model.explore.generations import config
from sw_model.mirror_api import MIRROR

CONFIG = config("nonblock_x_fault", MIRROR, long=True)
