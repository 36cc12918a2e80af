"""Which anchors predict which object, and which are ignored (RetinaNet, section 4)."""

from __future__ import annotations

import numpy as np

from pipeline.building.layout import map_layout
from pipeline.dense.assignment import Assignment, Truth
from pipeline.families.retinanet.locations import anchors_on_grid, locations
from pipeline.families.retinanet.matching import inside_regions, match
from pipeline.families.retinanet.params import RetinaNetParams
from pipeline.geometry.points import Grid
from pipeline.params.anchors import AnchorParams
from pipeline.params.reading import Params

__all__ = ["SECTIONS", "assign", "locations"]

SECTIONS = {"anchors": AnchorParams, "retinanet": RetinaNetParams}


def assign(truth: Truth, grid: Grid, size: tuple[int, int], params: Params) -> Assignment:
    """Anchors of IoU `fg_iou` and up with a gt box are to find the one that they overlap most, and with
    `low_quality_matches` so are those that some gt box overlaps most of all; below `bg_iou` an anchor is background but
    inside an ignore region; between both it is ignored."""
    rule = params.retinanet
    anchors = anchors_on_grid(map_layout(params.backbone), grid, size, params)
    own = match(anchors, grid, truth.boxes)
    fg = own.max_iou >= rule.fg_iou
    if rule.low_quality_matches:
        fg |= own.is_best
    fg &= own.max_iou > 0
    hidden = (own.max_iou >= rule.bg_iou) | inside_regions(anchors, grid, truth.regions, rule.ignore_ioa)
    labels = -hidden.astype(np.int64)
    labels[fg] = truth.labels[own.matched_gt[fg]]
    return Assignment(labels, own.matched_gt, own.max_iou.astype(np.float32))
