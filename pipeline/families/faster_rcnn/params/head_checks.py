"""What the RoI head requires of the other sections of params.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from pipeline.families.faster_rcnn.params.proposal_targets import ProposalTargetParams
from pipeline.families.faster_rcnn.params.roi_head import RoIHeadParams
from pipeline.geometry.trunk_settings import RESNET_NAMES
from pipeline.params.backbone import BackboneParams
from pipeline.params.section import Section


def check_head(sections: Mapping[str, Section]) -> str | None:
    """How the RoI head and the other sections disagree, and what to do."""
    head = cast(RoIHeadParams, sections["roi_head"])
    targets = cast(ProposalTargetParams, sections["proposal_targets"])
    if head.class_agnostic and targets.normalise == "measured":
        return (
            "roi_head.class_agnostic predicts one box for all classes, and proposal_targets.normalise measured gives "
            "each class a scale of its own; choose normalise fixed, or class_agnostic false"
        )
    return check_head_on_trunk(sections)


def check_head_on_trunk(sections: Mapping[str, Section]) -> str | None:
    """Why the RoI head cannot be used on the trunk, and what to do."""
    return trunk_fault(cast(RoIHeadParams, sections["roi_head"]), cast(BackboneParams, sections["backbone"]))


def trunk_fault(head: RoIHeadParams, backbone: BackboneParams) -> str | None:
    """Why a head cannot be used on a trunk, and what to do."""
    if head.kind != "res5":
        return None
    if backbone.name not in RESNET_NAMES:
        return (
            f"roi_head.kind res5 is the last stage of a ResNet, and backbone.name is {backbone.name}; choose kind fc, "
            f"or a backbone of {', '.join(RESNET_NAMES)}"
        )
    if backbone.neck.name != "none":
        return (
            f"roi_head.kind res5 stands on the maps of res4, and backbone.neck.name {backbone.neck.name} has used res5 "
            "for its own; choose kind fc or convs, or neck.name none"
        )
    return None
