"""Detection rules from params.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.families.faster_rcnn.nn.proposals import ProposalRule
from pipeline.nn.postprocess import DetectionRule

if TYPE_CHECKING:
    from pipeline.families.faster_rcnn.params.detect import DetectParams


def test_proposal_rule(params: DetectParams, count: int) -> ProposalRule:
    """The rule for test-time proposals."""
    return ProposalRule(params.pre_nms, params.proposal_nms_iou, count, params.min_size, params.cut_first)


def detection_rule(params: DetectParams) -> DetectionRule:
    """What becomes a detection."""
    return DetectionRule(params.score_threshold, params.nms_iou, params.per_image)
