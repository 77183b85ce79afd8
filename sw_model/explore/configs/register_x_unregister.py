"""A mirror registers while the last other one goes."""

from __future__ import annotations

from sw_model.explore.generations import config
from sw_model.mirror_api import MIRROR

CONFIG = config("register_x_unregister", MIRROR)
