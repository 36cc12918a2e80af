"""Which default boxes predict which object."""

from __future__ import annotations

import numpy as np

from pipeline.dense.assignment import Assignment, Truth
from pipeline.families.ssd.default_boxes import default_boxes, locations
from pipeline.families.ssd.matching import best_boxes, bipartite, in_regions, ious
from pipeline.families.ssd.params import SSDParams
from pipeline.geometry.points import Grid, on_grid
from pipeline.params.augment import AugmentParams
from pipeline.params.reading import Params

__all__ = ["SECTIONS", "assign", "locations"]

SECTIONS = {"ssd": SSDParams, "augment": AugmentParams}


def assign(truth: Truth, grid: Grid, size: tuple[int, int], params: Params) -> Assignment:
    """The default box that overlaps an object most predicts it, and so does every other one with an IoU of at least
    `fg_iou`; if that holds for several objects, it predicts the one that it overlaps most. Others are background below
    `bg_iou`, except for those in an ignore region. The quality is the IoU."""
    own: SSDParams = params.ssd
    boxes, gt_boxes = default_boxes(grid, size, own), on_grid(truth.boxes)
    iou = ious(boxes, gt_boxes)
    most = iou.max(axis=0, initial=0.0)
    matched = iou.argmax(axis=0) if len(iou) else np.zeros(len(boxes), np.int64)
    fg = most >= np.float32(own.fg_iou)
    ignored = (most >= np.float32(own.bg_iou)) | in_regions(boxes, on_grid(truth.regions), own.ignore_ioa)
    best = (bipartite if own.matching == "bipartite" else best_boxes)(iou, grid.centres(), gt_boxes)
    for gt, box in enumerate(best):
        if box >= 0:
            fg[box], matched[box] = True, gt
    labels = -ignored.astype(np.int64)
    labels[fg] = truth.labels[matched[fg]]
    quality = np.zeros(len(boxes), np.float32)
    quality[fg] = iou[matched[fg], np.flatnonzero(fg)]
    return Assignment(labels, matched, quality)
