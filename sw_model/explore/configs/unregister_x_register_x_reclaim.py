"""The only mirror goes, another registers and waits for a quiet moment, the page is reclaimed."""

from __future__ import annotations

from sw_model.explore.generations import config
from sw_model.mirror_api import MIRROR

CONFIG = config("unregister_x_register_x_reclaim", MIRROR, long=True)
