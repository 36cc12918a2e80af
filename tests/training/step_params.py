"""Sections of params.yaml for steps whose networks are given: losses, draws and targets follow them."""

from __future__ import annotations

from pipeline.families.faster_rcnn.params.proposal_targets import ProposalTargetParams
from pipeline.families.faster_rcnn.params.roi_head import RoIHeadParams
from pipeline.families.faster_rcnn.params.rpn import RPNParams

RPN = RPNParams(
    channels=8,
    anchors_per_image=16,
    fg_fraction=0.5,
    sigma=3.0,
    box_loss_weight=1.0,
    images_without_gt="background",
)
HEAD = RoIHeadParams(
    pool="roi_pool",
    output_size=3,
    hidden=16,
    dropout=0.5,
    rois_per_image=16,
    fg_fraction=0.25,
    sigma=1.0,
    box_loss_weight=1.0,
)
TARGETS = ProposalTargetParams(
    fg_iou=0.5,
    bg_iou_high=0.5,
    bg_iou_low=0.0,
    ignore_ioa=0.5,
    normalise="fixed",
    mean=[0.0, 0.0, 0.0, 0.0],
    std=[0.1, 0.1, 0.2, 0.2],
)
