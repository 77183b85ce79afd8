"""A generated sequence of operations on one process and one device, HMM v3."""

from __future__ import annotations

from sw_model.explore.generations import config
from sw_model.mirror_api import OLD_V3

CONFIG = config("operations", OLD_V3, open_bug="B2, B10, B16, B17, B18, B19")
