"""Two mirrors register, one faults at once, the page is reclaimed."""

from __future__ import annotations

from sw_model.explore.generations import config
from sw_model.mirror_api import MIRROR

CONFIG = config("register_fault_x_register_x_reclaim", MIRROR, long=True)
