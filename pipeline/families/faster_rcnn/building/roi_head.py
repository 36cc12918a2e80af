"""The RoI head that params.yaml describes, fresh or with the weights that a stage wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pipeline.artifacts.weights import load_part, restore
from pipeline.building.layout import one_depth, trunk_settings
from pipeline.families.faster_rcnn.nn.convs_head import ConvsHead
from pipeline.families.faster_rcnn.nn.fc_head import FcHead
from pipeline.families.faster_rcnn.nn.res5_head import Res5Head
from pipeline.families.faster_rcnn.nn.roi_head import RoIHead, take_classifier
from pipeline.families.faster_rcnn.params.head_checks import trunk_fault
from pipeline.geometry.backbones import RESNETS
from pipeline.runtime.errors import InputError

if TYPE_CHECKING:
    from pipeline.artifacts.weights import State
    from pipeline.families.faster_rcnn.params.roi_head import RoIHeadParams
    from pipeline.geometry.layout import MapLayout
    from pipeline.params.backbone import BackboneParams


def new_head(layout: MapLayout, num_classes: int, params: RoIHeadParams, backbone: BackboneParams) -> RoIHead:
    """A RoI head without weights.

    Raises:
        InputError: the levels are not of one depth, or the backbone has no res5 for a head that is made of it.
    """
    one_depth(layout.pooled, "RoI head")
    fault = trunk_fault(params, backbone)
    if fault:
        raise InputError(fault)
    settings, agnostic = trunk_settings(backbone), params.class_agnostic
    head: RoIHead
    if params.kind == "res5":
        shape = RESNETS[backbone.name]
        head = Res5Head(layout, num_classes, params.pooling, shape=shape, settings=settings, class_agnostic=agnostic)
    elif params.kind == "convs":
        head = ConvsHead(
            layout,
            num_classes,
            params.pooling,
            hidden=params.hidden,
            dropout=params.dropout,
            epsilon=settings.norm_epsilon,
            class_agnostic=agnostic,
        )
    else:
        head = FcHead(
            layout,
            num_classes,
            params.pooling,
            hidden=params.hidden,
            dropout=params.dropout,
            class_agnostic=agnostic,
        )
    return head.to(memory_format=torch.channels_last)


def load_head(folder: Path, layout: MapLayout, params: RoIHeadParams, backbone: BackboneParams) -> RoIHead:
    """The RoI head that a stage wrote to `folder`, in evaluation mode, with the number of classes stored there."""
    state = load_part(folder, "head")
    head = new_head(layout, num_classes_of(state), params, backbone)
    restore(head, state, folder)
    return head.eval()


def pretrained_head(
    folder: Path,
    layout: MapLayout,
    num_classes: int,
    params: RoIHeadParams,
    backbone: BackboneParams,
    generator: torch.Generator,
) -> RoIHead:
    """A head with the hidden layers of the pre-trained classifier where stage backbone's `folder` has them in this
    shape, the rest fresh."""
    head = new_head(layout, num_classes, params, backbone)
    if not take_classifier(head, load_part(folder, "classifier", optional=True)):
        head.initialise_hidden(generator)
    head.initialise_outputs(generator)
    return head


def num_classes_of(head_state: State) -> int:
    """C of a stored head."""
    return len(head_state["delta_mean"])
