"""From what the head says to detections."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.dense.decoding import candidates_by_class, keep_best
from pipeline.dense.head import Outputs
from pipeline.families.ssd.head import build_head, default_boxes
from pipeline.families.ssd.params import DetectSSDParams, SSDParams
from pipeline.geometry.points import Grid
from pipeline.nn import boxes
from pipeline.nn.postprocess import DetectedBoxes
from pipeline.params.reading import Params

__all__ = ["SECTIONS", "build_head", "class_scores", "decode"]

SECTIONS = {"ssd": SSDParams, "detect_ssd": DetectSSDParams}


def class_scores(outputs: Outputs) -> Tensor:
    """The probability of each class at each default box."""
    return torch.softmax(outputs["classes"], dim=-1)[..., 1:]


def decode(outputs: Outputs, grid: Grid, size: tuple[int, int], params: Params) -> DetectedBoxes:
    """The best default boxes of each class, each with its box, after NMS."""
    rule: DetectSSDParams = params.detect_ssd
    found = candidates_by_class(class_scores(outputs), rule.score_threshold, rule.per_class)
    deltas = outputs["deltas"][found.location]
    references = default_boxes(grid, size, params.ssd, deltas.device)[found.location]
    decoded = boxes.decode(references, deltas * deltas.new_tensor(params.ssd.variances))
    return keep_best(decoded, found, size, rule.nms_iou, rule.per_image)
