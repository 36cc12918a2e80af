"""The network that params.yaml describes, part by part, with the weights that stages left."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch

from pipeline.artifacts.weights import State, load_part, restore, restore_fitting
from pipeline.detector.anchors import AnchorGrid
from pipeline.detector.backbone import build_trunk
from pipeline.detector.postprocess import DetectionRule
from pipeline.detector.roi_head import RoIHead, take_fc_layers
from pipeline.detector.roi_targets import MatchingRule
from pipeline.detector.rpn import ProposalRule, RPNHead
from pipeline.detector.trunk import Trunk
from pipeline.geometry.backbones import layout_of
from pipeline.geometry.layout import MapLayout
from pipeline.params.anchors import AnchorParams
from pipeline.params.backbone import BackboneParams
from pipeline.params.detect import DetectParams
from pipeline.params.proposal_targets import ProposalTargetParams
from pipeline.params.roi_head import RoIHeadParams
from pipeline.params.rpn import RPNParams

Module = TypeVar("Module", bound=torch.nn.Module)


def new_trunk(params: BackboneParams) -> Trunk:
    """A trunk without weights."""
    return build_trunk(params.name, frozen_blocks=params.frozen_blocks, ceil_pool=params.ceil_pool)


def map_layout(params: BackboneParams) -> MapLayout:
    """The levels of the trunk's maps, without making one."""
    return layout_of(params.name, ceil_pool=params.ceil_pool)


def new_rpn(layout: MapLayout, anchors: AnchorParams, params: RPNParams) -> RPNHead:
    """An RPN head without weights."""
    return RPNHead(layout.channels, params.channels, len(anchors.ratios) * len(anchors.scales))


def new_head(layout: MapLayout, num_classes: int, params: RoIHeadParams) -> RoIHead:
    """A RoI head without weights."""
    return RoIHead(
        layout,
        num_classes,
        pool=params.pool,
        output_size=params.output_size,
        hidden=params.hidden,
        dropout=params.dropout,
    )


def anchor_grid(params: AnchorParams, layout: MapLayout) -> AnchorGrid:
    """The anchors of params.yaml on a trunk's maps."""
    return AnchorGrid(params.base_size, params.ratios, params.scales, layout)


def load_trunk(folder: Path, params: BackboneParams) -> Trunk:
    """The trunk that a stage left in `folder`, in evaluation mode."""
    trunk = new_trunk(params)
    restore(trunk, load_part(folder, "trunk"), folder)
    return channels_last(trunk)


def load_rpn(folder: Path, layout: MapLayout, anchors: AnchorParams, params: RPNParams) -> RPNHead:
    """The RPN head that a stage left in `folder`, in evaluation mode."""
    rpn = new_rpn(layout, anchors, params)
    restore(rpn, load_part(folder, "rpn"), folder)
    return channels_last(rpn)


def initial_rpn(
    backbone: Path, layout: MapLayout, anchors: AnchorParams, params: RPNParams, generator: torch.Generator
) -> RPNHead:
    """A fresh RPN head; where `backbone` has that of a trained detector, its layers of this shape take their place."""
    rpn = new_rpn(layout, anchors, params)
    rpn.initialise(generator)
    restore_fitting(rpn, load_part(backbone, "rpn", optional=True))
    return rpn


def load_head(folder: Path, layout: MapLayout, params: RoIHeadParams) -> RoIHead:
    """The RoI head that a stage left in `folder`, in evaluation mode; it brings its number of classes along."""
    state = load_part(folder, "head")
    head = new_head(layout, num_classes_of(state), params)
    restore(head, state, folder)
    return head.eval()


def pretrained_head(
    backbone: Path, layout: MapLayout, num_classes: int, params: RoIHeadParams, generator: torch.Generator
) -> RoIHead:
    """A head with the pre-trained classifier's fc6 and fc7 where `backbone` has them in this shape, the rest fresh."""
    head = new_head(layout, num_classes, params)
    if not take_fc_layers(head, load_part(backbone, "classifier", optional=True)):
        head.initialise_fc(generator)
    head.initialise_outputs(generator)
    return head


def num_classes_of(head_state: State) -> int:
    """C of a stored head."""
    return len(head_state["delta_mean"])


def channels_last(module: Module) -> Module:
    """The module in evaluation mode, its weights laid out for fast convolutions."""
    return module.eval().to(memory_format=torch.channels_last)


def test_proposal_rule(params: DetectParams, count: int) -> ProposalRule:
    """How many test-time proposals are kept, and how."""
    return ProposalRule(params.pre_nms, params.proposal_nms_iou, count, params.min_size)


def matching_rule(params: ProposalTargetParams) -> MatchingRule:
    """Which proposals are fg, bg or ignored."""
    return MatchingRule(params.fg_iou, params.bg_iou_high, params.bg_iou_low, params.ignore_ioa)


def detection_rule(params: DetectParams) -> DetectionRule:
    """What becomes a detection."""
    return DetectionRule(params.score_threshold, params.nms_iou, params.per_image)
