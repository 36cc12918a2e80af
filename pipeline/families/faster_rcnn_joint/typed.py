"""The sections of params.yaml with their types, for mypy."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pipeline.params.reading import Params

if TYPE_CHECKING:
    from pipeline.families.faster_rcnn.params.proposal_targets import RoITargetParams
    from pipeline.families.faster_rcnn.params.proposals import ProposalRuleParams
    from pipeline.families.faster_rcnn.params.roi_head import RoIHeadParams
    from pipeline.families.faster_rcnn.params.rpn import RPNParams
    from pipeline.params.anchors import AnchorParams
    from pipeline.params.schedule import Schedule


class EndToEndParams(Params):
    """The sections of the training stage."""

    if TYPE_CHECKING:
        anchors: AnchorParams
        rpn: RPNParams
        proposals: ProposalRuleParams
        proposal_targets: RoITargetParams
        roi_head: RoIHeadParams
        train_end_to_end: Schedule


def typed(params: Params) -> EndToEndParams:
    """The same sections, with their types."""
    return cast(EndToEndParams, params)
