"""A generated sequence of operations on one process and one device."""

from __future__ import annotations

from sw_model.explore.generations import config
from sw_model.mirror_api import MIRROR

CONFIG = config("operations", MIRROR)
