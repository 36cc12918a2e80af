"""Which gt box each anchor overlaps most, decided in float64 on a grid: the same on every processor, and mirrored in a
mirrored image wherever the anchors are.

Of each level and gt box only the cells are looked at whose anchors overlap it; memory is that of a few arrays over all
anchors, however many boxes there are.

Shapes: N anchors of an image, of all levels; G gt boxes; I regions; A anchors of a cell; R, C rows, columns of cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.families.retinanet.locations import LevelAnchors
from pipeline.geometry.points import Grid, on_grid

Boxes = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Matches:
    """Of N anchors.

    Attributes:
        max_iou: (N,) float64, the largest IoU with a gt box.
        matched_gt: (N,) int64, that box, the first of equals; 0 where there is none.
        is_best: (N,) bool, whether a gt box overlaps no anchor more than this one; all ties.
    """

    max_iou: Floats
    matched_gt: npt.NDArray[np.int64]
    is_best: npt.NDArray[np.bool_]


def match(levels: Sequence[LevelAnchors], grid: Grid, gt_boxes: Boxes) -> Matches:
    """Match the anchors of an image with its (G, 4) gt boxes, px.

    A gt box that overlaps no anchor has no best one.
    """
    count = len(grid)
    own = Matches(np.zeros(count), np.zeros(count, np.int64), np.zeros(count, bool))
    split = list(
        zip(levels, *(grid.split(values) for values in (own.max_iou, own.matched_gt, own.is_best)), strict=True)
    )
    best = np.zeros((len(gt_boxes), len(levels)))
    boxes = on_grid(gt_boxes)
    for place, (level, max_iou, matched_gt, _) in enumerate(split):
        for gt, rows, columns, iou in _overlapping(level, boxes):
            known = max_iou[rows, columns]
            better = iou > known
            np.copyto(known, iou, where=better)
            matched_gt[rows, columns][better] = gt
            best[gt, place] = iou.max()
    of_gt = best.max(axis=1, initial=0)
    for place, (level, _, _, is_best) in enumerate(split):
        here = np.flatnonzero((best[:, place] == of_gt) & (of_gt > 0))
        for index, rows, columns, iou in _overlapping(level, boxes[here]):
            is_best[rows, columns] |= iou == of_gt[here[index]]
    return own


def inside_regions(
    levels: Sequence[LevelAnchors], grid: Grid, regions: Boxes, least_ioa: float
) -> npt.NDArray[np.bool_]:
    """(N,) whether at least the share `least_ioa` of an anchor's area lies in one of (I, 4) regions, px."""
    inside = np.zeros(len(grid), bool)
    for level, own in zip(levels, grid.split(inside), strict=True):
        for left, top, right, bottom in on_grid(regions).tolist():
            rows, columns, shared = _shared(level, left, top, right, bottom)
            own[rows, columns] |= shared / level.areas >= least_ioa
    return inside


def _overlapping(level: LevelAnchors, boxes: Floats) -> Iterator[tuple[int, slice, slice, Floats]]:
    """For each box that overlaps an anchor: its index, the rows and columns of cells, and their (R, C, A) IoUs."""
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1).tolist()
    for index, ((left, top, right, bottom), area) in enumerate(zip(boxes.tolist(), areas, strict=True)):
        rows, columns, shared = _shared(level, left, top, right, bottom)
        if shared.size:
            yield index, rows, columns, shared / (level.areas + area - shared)


def _shared(level: LevelAnchors, left: float, top: float, right: float, bottom: float) -> tuple[slice, slice, Floats]:
    """The rows and columns of the cells whose anchors may overlap a box, and the (R, C, A) areas that they share."""
    high, rows = _along(level.low_y, level.high_y, top, bottom)
    wide, columns = _along(level.low_x, level.high_x, left, right)
    return rows, columns, high[:, None] * wide[None]


def _along(low: Floats, high: Floats, start: float, end: float) -> tuple[Floats, slice]:
    """Of (cells, A) intervals the overlaps with another, from the first cell that has one to the last."""
    overlap = np.minimum(high, end) - np.maximum(low, start)
    cells = np.flatnonzero((overlap > 0).any(axis=1))
    span = slice(int(cells[0]), int(cells[-1]) + 1) if len(cells) else slice(0, 0)
    return np.maximum(overlap[span], 0.0), span
