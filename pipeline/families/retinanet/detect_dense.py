"""From what the head says to detections."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.dense.decoding import candidates, keep_best
from pipeline.dense.head import Outputs
from pipeline.families.retinanet.anchors import anchors_of
from pipeline.families.retinanet.head import build_head
from pipeline.families.retinanet.params import DetectRetinaNetParams, RetinaNetParams
from pipeline.geometry.points import Grid
from pipeline.nn.boxes import decode as moved
from pipeline.nn.postprocess import DetectedBoxes
from pipeline.params.anchors import AnchorParams
from pipeline.params.reading import Params

__all__ = ["SECTIONS", "build_head", "class_scores", "decode"]

SECTIONS = {"anchors": AnchorParams, "retinanet": RetinaNetParams, "detect_retinanet": DetectRetinaNetParams}


def class_scores(outputs: Outputs) -> Tensor:
    """The probability of each class at each anchor."""
    return torch.sigmoid(outputs["class_logits"])


def decode(outputs: Outputs, grid: Grid, size: tuple[int, int], params: Params) -> DetectedBoxes:
    """The best pairs of anchor and class of each level, each with its box, after NMS within each class."""
    rule, deltas = params.detect_retinanet, outputs["box_deltas"]
    found = candidates(class_scores(outputs), grid, rule.score_threshold, rule.per_level)
    anchors = anchors_of(grid, size, params, deltas.device)[found.location]
    return keep_best(moved(anchors, deltas[found.location]), found, size, rule.nms_iou, rule.per_image)
