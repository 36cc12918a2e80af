"""The rule of params.yaml for matching proposals with gt boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.families.faster_rcnn.nn.roi_targets import MatchingRule

if TYPE_CHECKING:
    from pipeline.families.faster_rcnn.params.proposal_targets import RoITargetParams


def matching_rule(params: RoITargetParams) -> MatchingRule:
    """Which proposals are fg, bg or ignored."""
    return MatchingRule(params.fg_iou, params.bg_iou_high, params.bg_iou_low, params.ignore_ioa)
