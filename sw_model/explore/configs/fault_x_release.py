"""One fault against the release of a mirror by the exit of its process."""

from __future__ import annotations

from sw_model.explore.generations import config
from sw_model.mirror_api import MIRROR

CONFIG = config("fault_x_release", MIRROR)
