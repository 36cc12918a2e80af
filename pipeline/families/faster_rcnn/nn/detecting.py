"""Detections of whole images, from feature maps and proposals.

Shapes: B images; P proposals of one image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from pipeline.nn.postprocess import DetectedBoxes, DetectionRule, detect

if TYPE_CHECKING:
    from pipeline.families.faster_rcnn.nn.roi_head import RoIHead
    from pipeline.nn.backbones.trunk import Maps


def detect_in_maps(
    head: RoIHead, maps: Maps, proposals: Sequence[Tensor], sizes: Sequence[tuple[int, int]], rule: DetectionRule
) -> list[DetectedBoxes]:
    """Classify the proposals of each of B images on their feature maps."""
    class_logits, class_deltas = head(maps, proposals)
    class_deltas = head.decode_deltas(class_deltas)
    counts = [len(rois) for rois in proposals]
    return [
        detect(logits, deltas, rois, size, rule)
        for logits, deltas, rois, size in zip(
            class_logits.split(counts), class_deltas.split(counts), proposals, sizes, strict=True
        )
    ]
