"""What FCOS declares."""

from __future__ import annotations

from pipeline.dense.initial_network import INITIAL
from pipeline.families.family import Family, Network
from pipeline.families.fcos.params import DetectFcosParams, FcosParams
from pipeline.families.fcos.ranges import check_ranges
from pipeline.params.depth_checks import check_one_depth
from pipeline.params.schedule import Schedule

FAMILY = Family(
    name="fcos",
    title="FCOS",
    sections={"fcos": FcosParams, "train_fcos": Schedule, "detect_fcos": DetectFcosParams},
    networks={
        "fcos_initial": INITIAL,
        "fcos": Network("FCOS", "Trunk and head trained together.", {"trunk": "train_fcos", "head": "train_fcos"}),
    },
    judged="fcos",
    training={"train_fcos": "Trunk and head together"},
    checks=(check_one_depth, check_ranges),
)
