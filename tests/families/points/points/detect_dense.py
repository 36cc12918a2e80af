"""From what the head says to detections."""

from __future__ import annotations

import torch
from pipeline.families.points.head import boxes_at, build_head
from pipeline.families.points.params import DetectPointsParams, PointsParams
from torch import Tensor

from pipeline.dense.decoding import candidates, keep_best
from pipeline.dense.head import Outputs
from pipeline.geometry.points import Grid
from pipeline.nn.points import centres_and_strides
from pipeline.nn.postprocess import DetectedBoxes
from pipeline.params.reading import Params

__all__ = ["SECTIONS", "build_head", "class_scores", "decode"]

SECTIONS = {"points": PointsParams, "detect_points": DetectPointsParams}


def class_scores(outputs: Outputs) -> Tensor:
    """The probability of each class at each point."""
    return torch.sigmoid(outputs["classes"])


def decode(outputs: Outputs, grid: Grid, size: tuple[int, int], params: Params) -> DetectedBoxes:
    """The best points of each level, each with its box, after NMS."""
    rule = params.detect_points
    found = candidates(class_scores(outputs), grid, rule.score_threshold, rule.per_level)
    points, strides = centres_and_strides(grid, found.score.device)
    boxes = boxes_at(points[found.location], strides[found.location], outputs["edges"][found.location])
    return keep_best(boxes, found, size, rule.nms_iou, rule.per_image)
