"""The RoI head that params.yaml describes, fresh or with the weights that a stage left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts.weights import load_part, restore
from pipeline.building.layout import one_depth
from pipeline.families.faster_rcnn.nn.fc_head import FcHead
from pipeline.families.faster_rcnn.nn.roi_head import RoIHead, take_classifier

if TYPE_CHECKING:
    import torch

    from pipeline.artifacts.weights import State
    from pipeline.families.faster_rcnn.params.roi_head import RoIHeadParams
    from pipeline.geometry.layout import MapLayout


def new_head(layout: MapLayout, num_classes: int, params: RoIHeadParams) -> RoIHead:
    """A RoI head without weights.

    Raises:
        InputError: the levels are not of one depth.
    """
    one_depth(layout.pooled, "RoI head")
    return FcHead(
        layout,
        num_classes,
        params.pooling,
        hidden=params.hidden,
        dropout=params.dropout,
        class_agnostic=params.class_agnostic,
    )


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
    if not take_classifier(head, load_part(backbone, "classifier", optional=True)):
        head.initialise_hidden(generator)
    head.initialise_outputs(generator)
    return head


def num_classes_of(head_state: State) -> int:
    """C of a stored head."""
    return len(head_state["delta_mean"])
