"""What the family declares."""

from __future__ import annotations

from pipeline.dense.initial_network import INITIAL
from pipeline.families.family import Family, Network
from pipeline.families.ssd.checks import check_levels, check_size
from pipeline.families.ssd.params import DetectSSDParams, SSDParams
from pipeline.params.augment import AugmentParams
from pipeline.params.schedule import Schedule

FAMILY = Family(
    name="ssd",
    title="SSD",
    sections={"ssd": SSDParams, "augment": AugmentParams, "train_ssd": Schedule, "detect_ssd": DetectSSDParams},
    networks={
        "ssd_initial": INITIAL,
        "ssd": Network("SSD", "Trunk and head trained together.", {"trunk": "train_ssd", "head": "train_ssd"}),
    },
    judged="ssd",
    training={"train_ssd": "Trunk and head together"},
    checks=(check_levels, check_size),
)
