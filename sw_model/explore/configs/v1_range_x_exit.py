"""One fault, whose driver is no user of the mm, against the exit of the process, HMM v1."""

from __future__ import annotations

from sw_model.explore.generations import config
from sw_model.mirror_api import OLD_V1

CONFIG = config("range_x_exit", OLD_V1, open_bug="F7")
