"""Which box is fg, bg or ignored: anchors against gt boxes, proposals against gt boxes.

Shapes: K anchors, P proposals, G gt boxes of one image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.detector.anchors import inside
from pipeline.detector.boxes import intersection_over_own_area, pairwise_iou

FG, BG, IGNORE = 1, 0, -1


@dataclass(frozen=True)
class Matches:
    """Of N boxes: `labels` (N,) int8, `matched_gt` (N,) int64 (0 where there is no gt), `max_iou` (N,) in 0..1."""

    labels: Tensor
    matched_gt: Tensor
    max_iou: Tensor


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
        gt_boxes: (G, 4). regions: (I, 4) crowd and ignore regions, of which bg anchors are none.
        allowed_border: pixels that an anchor may stick out of the image, None: any. The others are ignored.
        ignore_ioa: share of a bg anchor's area in a region from which on it is ignored.
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


def match_proposals(
    proposals: Tensor, gt_boxes: Tensor, fg_iou: float, bg_iou_high: float, bg_iou_low: float
) -> Matches:
    """Label (P, 4) proposals against (G, 4) gt boxes (Fast R-CNN, section 2.3).

    1 fg of IoU >= `fg_iou`, 0 bg in [`bg_iou_low`, `bg_iou_high`), the rest -1. Without gt boxes all IoUs are 0.
    """
    if len(gt_boxes) == 0:
        max_iou = proposals.new_zeros(len(proposals))
        matched_gt = torch.zeros(len(proposals), dtype=torch.int64, device=proposals.device)
    else:
        max_iou, matched_gt = pairwise_iou(gt_boxes, proposals).max(dim=0)
    labels = torch.full_like(matched_gt, IGNORE, dtype=torch.int8)
    labels.masked_fill_((max_iou >= bg_iou_low) & (max_iou < bg_iou_high), BG).masked_fill_(max_iou >= fg_iou, FG)
    return Matches(labels, matched_gt, max_iou)


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


def _all_background(boxes: Tensor) -> Matches:
    zeros = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    return Matches(zeros.to(torch.int8), zeros, zeros.float())
