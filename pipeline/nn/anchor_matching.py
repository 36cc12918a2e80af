"""Which anchor is fg, bg or ignored.

Shapes: K anchors, G gt boxes of one image.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from pipeline.nn.anchors import inside
from pipeline.nn.boxes import BoxColumns
from pipeline.nn.matching import BG, FG, IGNORE, Matches, ignore_in_regions

_MANY = 16384
"""Anchors from which a step more for each gt box costs less than what lies far from it."""


def match_anchors(anchors: Tensor | BoxColumns, gt_boxes: Tensor, fg_iou: float, bg_iou: float) -> Matches:
    """Label (K, 4) anchors against (G, 4) gt boxes, on a CPU: 1 fg, 0 bg, -1 ignored (Faster R-CNN, section 3.1.2).

    Below `bg_iou` is background; then the anchors of highest IoU with a gt box are fg, all ties, unless that IoU is 0;
    then all of at least `fg_iou`. An anchor's matched gt is the one it overlaps most. Without gt boxes all are bg.

    Anchors that lie alike around a box have equal IoUs, but neither float32 nor float64 arithmetic finds them equal:
    IoUs are computed in float64, from `AnchorGrid.exact`, and compared as float32.

    Args:
        anchors: in `BoxColumns` they are float64.
    """
    if len(gt_boxes) == 0 or len(anchors) == 0:
        return _all_background(len(anchors))
    columns = anchors if isinstance(anchors, BoxColumns) else BoxColumns(anchors.double())
    if len(columns) >= _MANY:
        return _match_near(columns, gt_boxes.double(), fg_iou, bg_iou)
    iou = columns.iou(gt_boxes.double(), torch.float32)
    max_iou, matched_gt = iou.max(dim=0)
    best = iou.amax(dim=1, keepdim=True)
    is_best = (iou == best.masked_fill_(best <= 0, math.inf)).any(dim=0)
    labels = torch.full_like(matched_gt, IGNORE, dtype=torch.int8)
    labels.masked_fill_(max_iou < bg_iou, BG).masked_fill_(is_best | (max_iou >= fg_iou), FG)
    return Matches(labels, matched_gt, max_iou)


def _match_near(anchors: BoxColumns, gt_boxes: Tensor, fg_iou: float, bg_iou: float) -> Matches:
    """The same for many anchors, with a look at those near a gt box alone."""
    max_iou, matched_gt = torch.zeros(len(anchors)), torch.zeros(len(anchors), dtype=torch.int64)
    found, best = list(anchors.overlaps(gt_boxes, torch.float32)), [0.0] * len(gt_boxes)
    for gt, run, iou in found:
        own = max_iou[run]
        better = iou > own
        torch.maximum(own, iou, out=own)
        matched_gt[run].masked_fill_(better, gt)
        best[gt] = max(best[gt], float(iou.max()))
    labels = torch.full((len(anchors),), IGNORE, dtype=torch.int8).masked_fill_(max_iou < bg_iou, BG)
    for gt, run, iou in found:
        if best[gt] > 0:
            labels[run].masked_fill_(iou == best[gt], FG)
    return Matches(labels.masked_fill_(max_iou >= fg_iou, FG), matched_gt, max_iou)


class AnchorsOfSize:
    """The anchors of images of one size, ready to be matched with the gt boxes of each.

    Args:
        anchors: (K, 4) float64, from `AnchorGrid.exact`.
        size: (H, W) of the images, pixels.
        allowed_border: pixels that an anchor may stick out of an image, None: any. Others are not used.

    Attributes:
        all: the K anchors.
        used: (U,) int64, which of them are used, ascending.
    """

    def __init__(self, anchors: Tensor, size: tuple[int, int], allowed_border: float | None) -> None:
        self.all = anchors
        if allowed_border is None:
            self.used, self._own = torch.arange(len(anchors)), anchors
        else:
            self.used = torch.nonzero(inside(anchors, *size, allowed_border)).squeeze(1)
            self._own = anchors.index_select(0, self.used)
        self._columns = BoxColumns(self._own.double())

    def match(self, gt_boxes: Tensor, regions: Tensor, *, fg_iou: float, bg_iou: float, ignore_ioa: float) -> Matches:
        """Label the U anchors that are used, as `match_anchors` does.

        Args:
            gt_boxes: (G, 4). regions: (I, 4) crowd and ignore regions; anchors inside are not bg.
            ignore_ioa: a bg anchor is ignored when at least this share of its area lies in a region.
        """
        own = match_anchors(self._columns, gt_boxes, fg_iou, bg_iou)
        if len(regions) == 0:
            return own
        return replace(own, labels=ignore_in_regions(own.labels, self._own, regions, ignore_ioa))


def assign_anchors(
    anchors: Tensor,
    size: tuple[int, int],
    gt_boxes: Tensor,
    regions: Tensor,
    *,
    allowed_border: float | None,
    **rule: float,
) -> Matches:
    """Label all (K, 4) anchors of one image; those that are not used are ignored. See `AnchorsOfSize`."""
    of_size = AnchorsOfSize(anchors, size, allowed_border)
    own, used = of_size.match(gt_boxes, regions, **rule), of_size.used
    labels = torch.full((len(anchors),), IGNORE, dtype=torch.int8)
    matched_gt, max_iou = torch.zeros(len(anchors), dtype=torch.int64), torch.zeros(len(anchors))
    return Matches(
        labels.index_copy_(0, used, own.labels),
        matched_gt.index_copy_(0, used, own.matched_gt),
        max_iou.index_copy_(0, used, own.max_iou),
    )


def _all_background(count: int) -> Matches:
    zeros = torch.zeros(count, dtype=torch.int64)
    return Matches(zeros.to(torch.int8), zeros, zeros.float())
