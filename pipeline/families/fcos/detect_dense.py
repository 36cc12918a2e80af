"""From the head's outputs to detections (FCOS, section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.dense.decoding import candidates, keep_best
from pipeline.dense.head import Outputs
from pipeline.families.fcos.head import build_head
from pipeline.families.fcos.params import DetectFcosParams, FcosParams
from pipeline.families.fcos.points import boxes_at, points_in_image
from pipeline.geometry.points import Grid
from pipeline.nn.postprocess import DetectedBoxes
from pipeline.params.reading import Params

__all__ = ["SECTIONS", "build_head", "class_scores", "decode"]

SECTIONS = {"fcos": FcosParams, "detect_fcos": DetectFcosParams}


def class_scores(outputs: Outputs) -> Tensor:
    """The square root of class probability times centre-ness."""
    return (torch.sigmoid(outputs["classes"]) * torch.sigmoid(outputs["centreness"])[..., None]).sqrt()


def decode(outputs: Outputs, grid: Grid, size: tuple[int, int], params: Params) -> DetectedBoxes:
    """The best locations of each level, each with its box, after NMS."""
    rule, scores = params.detect_fcos, class_scores(outputs)
    compared = torch.sigmoid(outputs["classes"]) if rule.threshold_on == "class" else None
    found = candidates(scores, grid, rule.score_threshold, rule.per_level, compared)
    points = points_in_image(grid, size, params, scores.device)
    boxes = boxes_at(points[found.location], outputs["edges"][found.location])
    return keep_best(boxes, found, size, rule.nms_iou, rule.per_image)
