"""Faster R-CNN's sections of params.yaml with their types, for mypy."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pipeline.params.reading import Params

if TYPE_CHECKING:
    from pipeline.families.faster_rcnn.params.anchor_targets import AnchorTargetParams
    from pipeline.families.faster_rcnn.params.detect import DetectParams
    from pipeline.families.faster_rcnn.params.evaluate import RecallParams
    from pipeline.families.faster_rcnn.params.features import FeatureParams
    from pipeline.families.faster_rcnn.params.finetune_joint import JointParams
    from pipeline.families.faster_rcnn.params.proposal_targets import ProposalTargetParams
    from pipeline.families.faster_rcnn.params.proposals import ProposalParams
    from pipeline.families.faster_rcnn.params.roi_head import RoIHeadParams
    from pipeline.families.faster_rcnn.params.rpn import RPNParams
    from pipeline.families.faster_rcnn.params.train_head_step4 import HeadStep4
    from pipeline.families.faster_rcnn.params.train_rpn_step3 import RPNStep3
    from pipeline.params.anchors import AnchorParams
    from pipeline.params.schedule import Schedule


class FasterRCNNParams(Params):
    """The sections that a stage of Faster R-CNN was given."""

    if TYPE_CHECKING:
        anchors: AnchorParams
        anchor_targets: AnchorTargetParams
        rpn: RPNParams
        proposals: ProposalParams
        proposal_targets: ProposalTargetParams
        roi_head: RoIHeadParams
        features: FeatureParams
        train_rpn_step1: Schedule
        train_head_step2: Schedule
        train_rpn_step3: RPNStep3
        train_head_step4: HeadStep4
        finetune_joint: JointParams
        detect: DetectParams
        evaluate: RecallParams


def typed(params: Params) -> FasterRCNNParams:
    """The same sections, with their types."""
    return cast(FasterRCNNParams, params)
