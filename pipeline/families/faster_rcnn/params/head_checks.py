"""What the RoI head asks of the other sections of params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from pipeline.families.faster_rcnn.params.proposal_targets import ProposalTargetParams
from pipeline.families.faster_rcnn.params.roi_head import RoIHeadParams
from pipeline.params.section import Section


def check_head(sections: Mapping[str, Section]) -> str | None:
    """What is wrong between the RoI head and the other sections, and what to do."""
    head = cast(RoIHeadParams, sections["roi_head"])
    targets = cast(ProposalTargetParams, sections["proposal_targets"])
    if head.class_agnostic and targets.normalise == "measured":
        return (
            "roi_head.class_agnostic predicts one box for all classes, and proposal_targets.normalise measured gives "
            "each class a scale of its own; choose normalise fixed, or class_agnostic false"
        )
    return None
