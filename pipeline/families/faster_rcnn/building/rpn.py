"""The RPN head that params.yaml describes, fresh or with the weights that a stage wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts.weights import load_part, restore, restore_fitting
from pipeline.building.layout import one_depth
from pipeline.building.memory_format import channels_last
from pipeline.families.faster_rcnn.nn.rpn import RPNHead
from pipeline.runtime.errors import InputError

if TYPE_CHECKING:
    import torch

    from pipeline.artifacts.weights import State
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
    """The RPN head that a stage wrote to `folder`, in evaluation mode."""
    rpn = new_rpn(layout, anchors, params)
    restore(rpn, load_part(folder, "rpn"), folder)
    return channels_last(rpn)


def initial_rpn(
    backbone: Path, layout: MapLayout, anchors: AnchorParams, params: RPNParams, generator: torch.Generator
) -> RPNHead:
    """A fresh RPN head; where `backbone` has that of a trained detector, its layers of this shape take their place: all
    of them, or all but the outputs where its anchors are others.

    Raises:
        InputError: its convolutions are others.
    """
    rpn = new_rpn(layout, anchors, params)
    rpn.initialise(generator)
    state = load_part(backbone, "rpn", optional=True)
    _check_convolutions(state, params, backbone)
    restore_fitting(rpn, state)
    return rpn


def _check_convolutions(state: State, params: RPNParams, folder: Path) -> None:
    """See that a detector's convolutions are as many and as wide as those of params.yaml: some of them alone would be a
    start as poor as a random one, and would pass for one."""
    if not state:
        return
    depth = 1 + sum(name.startswith("more.") and name.endswith(".weight") for name in state)
    for key, own, theirs in (("depth", params.depth, depth), ("channels", params.channels, len(state["conv.bias"]))):
        if own != theirs:
            raise InputError(
                f"{folder}: the RPN of the detector that init.detector names has rpn.{key} {theirs}, and params.yaml "
                f"{own}; set rpn.{key} {theirs}"
            )
