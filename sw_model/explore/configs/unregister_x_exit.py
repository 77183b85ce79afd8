"""The last mirror goes, and is freed, while the process exits."""

from __future__ import annotations

from sw_model.explore.generations import config
from sw_model.mirror_api import MIRROR

CONFIG = config("unregister_x_exit", MIRROR)
