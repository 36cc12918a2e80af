"""Which default box predicts which gt box (Liu et al. 2016, section 2.2).

IoUs are computed in float64 and compared as float32. Those of a small gt box with all default boxes around it of one
area are equal, as of a level's square and its boxes of other ratios: of equals the one whose centre is nearest to the
gt box's is the best, then the first.

Shapes: N default boxes, G gt boxes of one image.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.geometry.points import Floats, Integers
from pipeline.metrics.rows import pair_iou, pair_share

Ious = npt.NDArray[np.float32]


def ious(boxes: Floats, gt_boxes: Floats) -> Ious:
    """(N, 4) and (G, 4) to (G, N)."""
    rows = [pair_iou(boxes, gt).astype(np.float32) for gt in gt_boxes]  # one at a time, in the processor's cache
    return np.stack(rows) if rows else np.zeros((0, len(boxes)), np.float32)


def best_boxes(iou: Ious, centres: Floats, gt_boxes: Floats) -> Integers:
    """(G,) the default box that overlaps each gt box most, which may be that of several; -1 where none overlaps it.

    Args:
        iou: (G, N). centres: (N, 2) of the default boxes. gt_boxes: (G, 4).
    """
    return np.array([_best(row, centres, gt) for row, gt in zip(iou, gt_boxes, strict=True)], np.int64)


def bipartite(iou: Ious, centres: Floats, gt_boxes: Floats) -> Integers:
    """The same so that no default box is that of two: the pairs of largest IoU come first, and a gt box whose best is
    taken gets its best of those that are left."""
    left, found = iou.copy(), np.full(len(iou), -1, np.int64)
    most = left.max(axis=1, initial=0.0)
    for _ in range(len(left)):
        gt = int(most.argmax())
        if most[gt] <= 0:
            break
        taken = found[gt] = _best(left[gt], centres, gt_boxes[gt])
        changed = left[:, taken] == most
        left[:, taken] = 0
        left[gt] = 0
        most[changed] = left[changed].max(axis=1)
    return found


def _best(row: Ious, centres: Floats, gt: Floats) -> int:
    most = row.max(initial=0.0)
    if most <= 0:
        return -1
    equal = np.flatnonzero(row == most)
    away = ((centres[equal] * 2 - gt[:2] - gt[2:]) ** 2).sum(axis=1)
    return int(equal[away.argmin()])


def in_regions(boxes: Floats, regions: Floats, least_ioa: float) -> npt.NDArray[np.bool_]:
    """(N,) whether at least this share of a box's own area lies in one of the (I, 4) regions."""
    inside = np.zeros(len(boxes), bool)
    for region in regions:
        inside |= pair_share(boxes, region).astype(np.float32) >= np.float32(least_ioa)
    return inside
