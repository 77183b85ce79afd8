"""A mirror registers while the first creator of the hmm is killed and gets no notifier."""

from __future__ import annotations

from sw_model.explore.generations import config
from sw_model.mirror_api import MIRROR

CONFIG = config("register_x_killed", MIRROR)
