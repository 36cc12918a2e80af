"""Rows of cls_score and bbox_pred that start from those of a detector, for the classes that it knows by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pipeline.artifacts.classes import read_detector_classes
from pipeline.artifacts.weights import load_part
from pipeline.datasets.same_class import rows_of_classes
from pipeline.families.faster_rcnn.nn.roi_head import hidden_layers_fit

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.artifacts.weights import State
    from pipeline.families.faster_rcnn.nn.roi_head import RoIHead


def take_class_rows(head: RoIHead, backbone: Path, classes: Sequence[str]) -> str | None:
    """Start the rows of the classes that the detector in data/backbone has too, and of the background, from its rows.

    Args:
        head: one that starts training, with the normalisation of its targets; its other rows stay as they are.
        backbone: what stage `backbone` wrote. classes: of the head, the background first.

    Returns:
        A line for a log; None where no detector with known classes is there.
    """
    known = read_detector_classes(backbone)
    if known is None:
        return None
    theirs = load_part(backbone, "head")
    if "delta_mean" not in theirs:
        return "class rows: none starts from the detector's, which is not a Faster R-CNN"
    if not hidden_layers_fit(head, theirs):
        return "class rows: none starts from the detector's, whose hidden layers of the RoI head are others"
    rows = rows_of_classes(classes, known)
    ours, own = (torch.tensor(side) for side in zip(*rows, strict=True))
    with torch.no_grad():
        for kind in ("weight", "bias"):
            getattr(head.cls_score, kind)[ours] = theirs[f"cls_score.{kind}"][own]
    boxes = _take_boxes(head, theirs, ours, own)
    line = f"class rows: {len(rows) - 1} of {len(classes) - 1} classes and the background start from the detector's"
    return line if boxes else f"{line}, but for their boxes: one of both heads has one box for all classes"


def _take_boxes(head: RoIHead, theirs: State, ours: Tensor, own: Tensor) -> bool:
    """The same of bbox_pred, under the normalisation of `head`; False where both have not a box for each class, or both
    one for all."""
    agnostic = len(theirs["bbox_pred.bias"]) == 4 != 4 * len(theirs["delta_mean"])
    if agnostic != head.class_agnostic:
        return False
    if agnostic:
        ours = own = torch.zeros(1, dtype=torch.int64)
    std, mean = head.delta_std[ours], head.delta_mean[ours]
    factor, shift = theirs["delta_std"][own] / std, (theirs["delta_mean"][own] - mean) / std
    with torch.no_grad():
        weight, bias = (getattr(head.bbox_pred, kind).unflatten(0, (-1, 4)) for kind in ("weight", "bias"))
        weight[ours] = theirs["bbox_pred.weight"].unflatten(0, (-1, 4))[own] * factor[..., None]
        bias[ours] = theirs["bbox_pred.bias"].unflatten(0, (-1, 4))[own] * factor + shift
    return True
