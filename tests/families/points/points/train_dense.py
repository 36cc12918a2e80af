"""What the head is trained by."""

from __future__ import annotations

import torch
from pipeline.families.points.dense_targets import assign
from pipeline.families.points.head import boxes_at, build_head
from pipeline.families.points.params import PointsParams
from torch import Tensor

from pipeline.dense.head import DenseHead, Outputs
from pipeline.dense.targets import BatchTargets
from pipeline.nn.focal_loss import sigmoid_focal_loss
from pipeline.nn.points import centres_and_strides
from pipeline.params.augment import AugmentParams
from pipeline.params.reading import Params
from pipeline.params.schedule import Schedule

__all__ = ["SECTIONS", "assign", "build_head", "losses"]

SECTIONS = {"points": PointsParams, "augment": AugmentParams, "train_points": Schedule}


def losses(head: DenseHead, outputs: Outputs, targets: BatchTargets, params: Params) -> dict[str, Tensor]:
    """Focal loss of the classes, and 1 - IoU of the boxes, over the number of points that are to find an object."""
    own, logits = params.points, outputs["classes"]
    fg, labels = targets.fg, targets.labels
    wanted = torch.zeros_like(logits).flatten(0, 1)
    wanted[fg, labels.flatten()[fg] - 1] = 1.0
    per_class = sigmoid_focal_loss(logits, wanted.view_as(logits), own.focal_alpha, own.focal_gamma)
    count = max(len(fg), 1)
    points, strides = centres_and_strides(targets.grid, logits.device)
    place = fg % len(targets.grid)
    boxes = boxes_at(points[place], strides[place], outputs["edges"].flatten(0, 1)[fg])
    return {
        "points_class": (per_class * (labels >= 0)[..., None]).sum() / count,
        "points_box": own.box_loss_weight * (1 - _iou(boxes, targets.fg_boxes)).sum() / count,
    }


def _iou(boxes: Tensor, others: Tensor) -> Tensor:
    """(N, 4) and (N, 4) to (N,), of boxes that overlap."""
    shared = torch.minimum(boxes[:, 2:], others[:, 2:]) - torch.maximum(boxes[:, :2], others[:, :2])
    intersection = shared.prod(dim=1)
    areas = ((own[:, 2:] - own[:, :2]).prod(dim=1) for own in (boxes, others))
    return intersection / (sum(areas) - intersection)
