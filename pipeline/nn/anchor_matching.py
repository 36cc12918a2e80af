"""Which anchor is fg, bg or ignored.

Shapes: K anchors, G gt boxes of one image.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from pipeline.nn.anchors import inside
from pipeline.nn.boxes import pairwise_iou
from pipeline.nn.matching import BG, FG, IGNORE, Matches, ignore_in_regions


def match_anchors(anchors: Tensor, gt_boxes: Tensor, fg_iou: float, bg_iou: float) -> Matches:
    """Label (K, 4) anchors against (G, 4) gt boxes: 1 fg, 0 bg, -1 ignored (Faster R-CNN, section 3.1.2).

    Below `bg_iou` is background; then the anchors of highest IoU with a gt box are fg, all ties, unless that IoU is 0;
    then all of at least `fg_iou`. An anchor's matched gt is the one it overlaps most. Without gt boxes all are bg.

    Anchors that lie alike around a box have equal IoUs, but neither float32 nor float64 arithmetic finds them equal:
    IoUs are computed in float64, from `AnchorGrid.exact`, and compared as float32.
    """
    if len(gt_boxes) == 0 or len(anchors) == 0:
        return _all_background(anchors)
    iou = pairwise_iou(gt_boxes.double(), anchors.double(), torch.float32)
    max_iou, matched_gt = iou.max(dim=0)
    best = iou.amax(dim=1, keepdim=True)
    is_best = (iou == best.masked_fill_(best <= 0, math.inf)).any(dim=0)
    labels = torch.full_like(matched_gt, IGNORE, dtype=torch.int8)
    labels.masked_fill_(max_iou < bg_iou, BG).masked_fill_(is_best | (max_iou >= fg_iou), FG)
    return Matches(labels, matched_gt, max_iou)


def assign_anchors(
    anchors: Tensor,
    size: tuple[int, int],
    gt_boxes: Tensor,
    regions: Tensor,
    *,
    fg_iou: float,
    bg_iou: float,
    allowed_border: float | None,
    ignore_ioa: float,
) -> Matches:
    """Label all (K, 4) anchors of an image, from `AnchorGrid.exact`: `match_anchors` among those that may be used.

    Args:
        size: (H, W) of the image, pixels.
        gt_boxes: (G, 4). regions: (I, 4) crowd and ignore regions; anchors inside are not bg.
        allowed_border: pixels that an anchor may stick out of the image, None: any. The others are ignored.
        ignore_ioa: a bg anchor is ignored when at least this share of its area lies in a region.
    """
    if allowed_border is None:
        return _match_outside_regions(anchors, gt_boxes, regions, fg_iou, bg_iou, ignore_ioa)
    usable = torch.nonzero(inside(anchors, *size, allowed_border)).squeeze(1)
    own = _match_outside_regions(anchors.index_select(0, usable), gt_boxes, regions, fg_iou, bg_iou, ignore_ioa)
    labels = torch.full((len(anchors),), IGNORE, dtype=torch.int8)
    matched_gt, max_iou = torch.zeros(len(anchors), dtype=torch.int64), torch.zeros(len(anchors))
    return Matches(
        labels.index_copy_(0, usable, own.labels),
        matched_gt.index_copy_(0, usable, own.matched_gt),
        max_iou.index_copy_(0, usable, own.max_iou),
    )


def _match_outside_regions(
    anchors: Tensor, gt_boxes: Tensor, regions: Tensor, fg_iou: float, bg_iou: float, ignore_ioa: float
) -> Matches:
    own = match_anchors(anchors, gt_boxes, fg_iou, bg_iou)
    if len(regions) == 0:
        return own
    return replace(own, labels=ignore_in_regions(own.labels, anchors, regions, ignore_ioa))


def _all_background(boxes: Tensor) -> Matches:
    zeros = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    return Matches(zeros.to(torch.int8), zeros, zeros.float())
