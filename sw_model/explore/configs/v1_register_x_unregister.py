"""A mirror registers while the last other one goes, HMM v1."""

from __future__ import annotations

from sw_model.explore.generations import config
from sw_model.mirror_api import OLD_V1

CONFIG = config("register_x_unregister", OLD_V1, open_bug="B8")
