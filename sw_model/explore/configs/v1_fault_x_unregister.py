"""One fault against the unregistration of its mirror, HMM v1."""

from __future__ import annotations

from sw_model.explore.generations import config
from sw_model.mirror_api import OLD_V1

CONFIG = config("fault_x_unregister", OLD_V1, open_bug="F2")
