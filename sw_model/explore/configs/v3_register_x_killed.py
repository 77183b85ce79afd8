"""A mirror registers while the first creator of the hmm is killed and gets no notifier, HMM v3."""

from __future__ import annotations

from sw_model.explore.generations import config
from sw_model.mirror_api import OLD_V3

CONFIG = config("register_x_killed", OLD_V3, open_bug="B9")
