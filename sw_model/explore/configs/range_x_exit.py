"""One fault, whose driver holds the mm_struct but is no user of it, against the exit of the process."""

from __future__ import annotations

from sw_model.explore.generations import config
from sw_model.mirror_api import MIRROR

CONFIG = config("range_x_exit", MIRROR)
