"""The result of matching boxes, anchors or proposals, with gt boxes: fg, bg or ignored."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.nn.boxes import intersection_over_own_area

FG, BG, IGNORE = 1, 0, -1


@dataclass(frozen=True)
class Matches:
    """Of N boxes: `labels` (N,) int8, `matched_gt` (N,) int64 (0 where there is no gt), `max_iou` (N,) in 0..1."""

    labels: Tensor
    matched_gt: Tensor
    max_iou: Tensor


def ignore_in_regions(labels: Tensor, boxes: Tensor, regions: Tensor, least_ioa: float) -> Tensor:
    """(N,) int8 labels in which bg boxes that lie in an ignore region are ignored: nobody labelled what is there.

    Shares are computed in float64 and compared as float32, so that of anchors exactly so far inside all are ignored.

    Args:
        labels: (N,) int8, 1 fg, 0 bg, -1 ignored.
        boxes: (N, 4) the labelled boxes.
        regions: (I, 4) ignore and crowd regions of the image.
        least_ioa: share of a box's own area that must lie in one region, above 0 to 1.
    """
    if len(regions) == 0 or len(boxes) == 0:
        return labels
    share = intersection_over_own_area(boxes.double(), regions.double()).amax(dim=1).float()
    in_region = share >= least_ioa
    return torch.where((labels == BG) & in_region, torch.full_like(labels, IGNORE), labels)
