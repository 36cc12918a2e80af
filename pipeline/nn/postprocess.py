"""Detections of an image, and their boxes in the original image.

`detect` makes them of the outputs of a RoI head (Fast R-CNN, section 3.2); a dense family has
`pipeline.dense.decoding`.

Shapes: R RoIs of one image; C classes, background included; N detections.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.nn.batched_nms import batched_nms
from pipeline.nn.boxes import clip, decode


@dataclass(frozen=True)
class DetectionRule:
    """Detections score more than `score_threshold`, survive NMS in their class, and number at most `per_image`."""

    score_threshold: float
    nms_iou: float
    per_image: int


@dataclass(frozen=True)
class DetectedBoxes:
    """`boxes` (N, 4) pixels, `scores` (N,) in 0..1, `labels` (N,) int64 in 1..C-1, by descending score."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def detect(
    class_logits: Tensor, class_deltas: Tensor, rois: Tensor, size: tuple[int, int], rule: DetectionRule
) -> DetectedBoxes:
    """Detections of one image.

    Args:
        class_logits: (R, C). class_deltas: (R, C, 4), no longer normalised. rois: (R, 4) resized pixels.
        size: (H, W) of the resized image, to which boxes are clipped.
    """
    scores = torch.softmax(class_logits, dim=1)[:, 1:]
    boxes = clip(decode(rois, class_deltas[:, 1:]), *size)
    roi, column = torch.nonzero(scores > rule.score_threshold, as_tuple=True)
    scores, boxes = scores[roi, column], boxes[roi, column]
    filled = torch.nonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])).squeeze(1)
    scores, boxes, labels = scores[filled], boxes[filled], column[filled] + 1
    keep = batched_nms(boxes, scores, labels, rule.nms_iou, rule.per_image)
    return DetectedBoxes(boxes[keep], scores[keep], labels[keep])


def to_original(boxes: Tensor, scale: tuple[float, float], size: tuple[int, int]) -> Tensor:
    """(N, 4) boxes of the resized image in pixels of the original, clipped to it.

    Args:
        scale: (x, y) resized pixels per original pixel. size: (H, W) of the original.
    """
    return clip(boxes / boxes.new_tensor([*scale, *scale]), *size)
