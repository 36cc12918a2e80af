"""What Faster R-CNN trained end to end declares: the detector that it starts from, and the one that it trains."""

from __future__ import annotations

from pipeline.families.family import Family, Network
from pipeline.families.faster_rcnn.params.anchor_targets import AnchorTargetParams
from pipeline.families.faster_rcnn.params.detect import DetectParams
from pipeline.families.faster_rcnn.params.evaluate import RecallParams
from pipeline.families.faster_rcnn.params.features import FeatureParams
from pipeline.families.faster_rcnn.params.head_checks import check_head_on_trunk
from pipeline.families.faster_rcnn.params.proposal_targets import RoITargetParams
from pipeline.families.faster_rcnn.params.proposals import ProposalRuleParams
from pipeline.families.faster_rcnn.params.roi_head import RoIHeadParams
from pipeline.families.faster_rcnn.params.rpn import RPNParams
from pipeline.params.anchors import AnchorParams
from pipeline.params.depth_checks import check_one_depth
from pipeline.params.resize import check_pixels_are_kept
from pipeline.params.schedule import Schedule

FAMILY = Family(
    name="faster_rcnn_joint",
    title="Faster R-CNN, trained end to end",
    sections={
        "anchors": AnchorParams,
        "anchor_targets": AnchorTargetParams,
        "rpn": RPNParams,
        "proposals": ProposalRuleParams,
        "proposal_targets": RoITargetParams,
        "roi_head": RoIHeadParams,
        "features": FeatureParams,
        "train_end_to_end": Schedule,
        "detect": DetectParams,
        "evaluate": RecallParams,
    },
    networks={
        "initial": Network(
            "initial detector",
            "Initial: the detector that training starts from, before any training.",
            {"trunk": "backbone", "rpn": "backbone", "head": "backbone"},
        ),
        "end_to_end": Network(
            "end to end",
            "End to end: trunk, RPN and head trained together.",
            {"trunk": "train_end_to_end", "rpn": "train_end_to_end", "head": "train_end_to_end"},
        ),
    },
    judged="end_to_end",
    training={"train_end_to_end": "End to end: trunk, RPN and head together"},
    checks=(check_one_depth, check_head_on_trunk, check_pixels_are_kept),
    defaults_of="faster_rcnn",
)
