"""The RPN head that params.yaml describes, fresh or with the weights that a stage left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts.weights import load_part, restore, restore_fitting
from pipeline.building.layout import one_depth
from pipeline.building.memory_format import channels_last
from pipeline.families.faster_rcnn.nn.rpn import RPNHead

if TYPE_CHECKING:
    import torch

    from pipeline.families.faster_rcnn.params.rpn import RPNParams
    from pipeline.geometry.layout import MapLayout
    from pipeline.params.anchors import AnchorParams


def new_rpn(layout: MapLayout, anchors: AnchorParams, params: RPNParams) -> RPNHead:
    """An RPN head without weights.

    Raises:
        InputError: the levels are not of one depth.
    """
    per_location = len(anchors.ratios) * len(anchors.scales)
    return RPNHead(one_depth(layout, "RPN"), params.channels, per_location, params.depth)


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
