"""What RetinaNet declares."""

from __future__ import annotations

from pipeline.dense.initial_network import INITIAL
from pipeline.families.family import Family, Network
from pipeline.families.retinanet.params import DetectRetinaNetParams, RetinaNetParams
from pipeline.params.anchors import AnchorParams
from pipeline.params.depth_checks import check_one_depth
from pipeline.params.schedule import Schedule

FAMILY = Family(
    name="retinanet",
    title="RetinaNet",
    sections={
        "anchors": AnchorParams,
        "retinanet": RetinaNetParams,
        "train_retinanet": Schedule,
        "detect_retinanet": DetectRetinaNetParams,
    },
    networks={
        "retinanet_initial": INITIAL,
        "retinanet": Network(
            "RetinaNet",
            "Trunk and head trained together.",
            {"trunk": "train_retinanet", "head": "train_retinanet"},
        ),
    },
    judged="retinanet",
    training={"train_retinanet": "Trunk and head together"},
    checks=(check_one_depth,),
)
