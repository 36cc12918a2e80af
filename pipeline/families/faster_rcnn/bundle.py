"""Bundles of Faster R-CNN: trunk, RPN and RoI head."""

from __future__ import annotations

from typing import cast

from pipeline.building.anchors import anchor_grid
from pipeline.building.trunk import new_trunk
from pipeline.bundle.contract import BundleParams, FamilyBundle, Parts
from pipeline.families.faster_rcnn.building.detection import detection_rule, test_proposal_rule
from pipeline.families.faster_rcnn.building.roi_head import new_head, num_classes_of
from pipeline.families.faster_rcnn.building.rpn import new_rpn
from pipeline.families.faster_rcnn.nn.network import FasterRCNN
from pipeline.families.faster_rcnn.nn.roi_head import RoIHead
from pipeline.families.faster_rcnn.nn.rpn import RPNHead
from pipeline.families.faster_rcnn.params.detect import DetectParams
from pipeline.families.faster_rcnn.params.roi_head import RoIHeadParams
from pipeline.families.faster_rcnn.params.rpn import RPNParams
from pipeline.nn.backbones.trunk import Trunk
from pipeline.params.anchors import AnchorParams


class FasterRCNNParams(BundleParams):
    """The sections of params.yaml that Faster R-CNN uses in detection."""

    anchors: AnchorParams
    rpn: RPNParams
    roi_head: RoIHeadParams
    detect: DetectParams


def typed(parts: Parts) -> tuple[Trunk, RPNHead, RoIHead]:
    """The trunk, the RPN and the RoI head."""
    return cast(Trunk, parts["trunk"]), cast(RPNHead, parts["rpn"]), cast(RoIHead, parts["head"])


def _new_parts(params: FasterRCNNParams, num_classes: int) -> Parts:
    trunk = new_trunk(params.backbone)
    rpn = new_rpn(trunk.layout, params.anchors, params.rpn)
    return {"trunk": trunk, "rpn": rpn, "head": new_head(trunk.layout, num_classes, params.roi_head, params.backbone)}


def _network(parts: Parts, params: FasterRCNNParams) -> FasterRCNN:
    trunk, rpn, head = typed(parts)
    proposals = test_proposal_rule(params.detect, params.detect.proposals)
    grid = anchor_grid(params.anchors, trunk.layout)
    return FasterRCNN(trunk, rpn, head, grid, proposals, detection_rule(params.detect))


BUNDLE = FamilyBundle(
    params=FasterRCNNParams,
    new_parts=_new_parts,
    network=_network,
    trained_with={
        "anchors": ("base_size", "ratios", "scales", "placement", "whole_sizes"),
        "roi_head": ("pool", "output_size", "samples", "aligned"),
    },
    num_classes=lambda states: num_classes_of(states["head"]),
)
