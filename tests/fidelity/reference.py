"""The papers' formulas and Caffe's pooling in plain float64 NumPy. Nothing here comes from the project's own code.

Sources: Faster R-CNN (Ren et al., 2015), Fast R-CNN (Girshick, 2015), R-CNN (Girshick et al., 2014), Mask R-CNN (He et
al., 2017), and py-faster-rcnn's layers where the papers leave something open.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Array = np.ndarray
ROUNDING = 1e-6  # IoUs that float32 cannot tell apart are equal


def iou_matrix(boxes: Array, others: Array) -> Array:
    """(N, M) intersection over union, a pair at a time."""
    result = np.zeros((len(boxes), len(others)))
    for i, (ax1, ay1, ax2, ay2) in enumerate(boxes.astype(np.float64).tolist()):
        for j, (bx1, by1, bx2, by2) in enumerate(others.astype(np.float64).tolist()):
            width, height = min(ax2, bx2) - max(ax1, bx1), min(ay2, by2) - max(ay1, by1)
            if width > 0 and height > 0:
                shared = width * height
                result[i, j] = shared / ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - shared)
    return result


def anchor_boxes(
    size: tuple[int, int], stride: int, base: float, ratios: Sequence[float], scales: Sequence[float]
) -> Array:
    """Faster R-CNN, section 3.1.1: at each cell of the (Fh, Fw) map, row by row, each ratio at each scale."""
    boxes = []
    for row in range(size[0]):
        for column in range(size[1]):
            for ratio in ratios:
                for scale in scales:
                    width = base * scale / math.sqrt(ratio)
                    height = width * ratio
                    x, y = (column + 0.5) * stride, (row + 0.5) * stride
                    boxes.append([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    return np.array(boxes)


def box_targets(proposals: Array, truths: Array) -> Array:
    """R-CNN, appendix C, equations 6 to 9: t of each P and its G, from centres, widths and heights."""
    rows = []
    for (px1, py1, px2, py2), (gx1, gy1, gx2, gy2) in zip(
        proposals.astype(np.float64).tolist(), truths.astype(np.float64).tolist(), strict=True
    ):
        pw, ph, gw, gh = px2 - px1, py2 - py1, gx2 - gx1, gy2 - gy1
        px, py, gx, gy = (px1 + px2) / 2, (py1 + py2) / 2, (gx1 + gx2) / 2, (gy1 + gy2) / 2
        rows.append([(gx - px) / pw, (gy - py) / ph, math.log(gw / pw), math.log(gh / ph)])
    return np.array(rows).reshape(-1, 4)


def anchor_labels(anchors: Array, truths: Array, fg_iou: float, bg_iou: float) -> Array:
    """Faster R-CNN, section 3.1.2: 1 positive, 0 negative, -1 neither.

    Positive: (i) the anchor or anchors of the highest IoU with a box, (ii) an anchor whose IoU with any box reaches
    `fg_iou`. Negative: non-positive, below `bg_iou` for all boxes. A box that no anchor meets has no highest IoU.
    """
    iou = iou_matrix(truths, anchors)
    highest = [max(row) for row in iou.tolist()]
    labels = []
    for own in iou.T.tolist():
        if any(value >= fg_iou - ROUNDING for value in own) or any(
            value > 0 and value >= best - ROUNDING for value, best in zip(own, highest, strict=True)
        ):
            labels.append(1)
        else:
            labels.append(0 if all(value < bg_iou - ROUNDING for value in own) else -1)
    return np.array(labels, dtype=np.int64)


def roi_labels(rois: Array, truths: Array, classes: Array, fg: float, bg_high: float, bg_low: float) -> Array:
    """Fast R-CNN, section 2.3: the class of the best box from IoU `fg` on, 0 in [bg_low, bg_high), else -1."""
    labels = []
    for row in iou_matrix(rois, truths):
        best = max(row.tolist(), default=0.0)
        if best >= fg - ROUNDING:
            labels.append(int(classes[int(np.argmax(row))]))
        else:
            labels.append(0 if bg_low - ROUNDING <= best < bg_high - ROUNDING else -1)
    return np.array(labels, dtype=np.int64)


def smooth_l1(x: Array, sigma: float) -> Array:
    """Fast R-CNN, equation 3; sigma as in py-faster-rcnn's SmoothL1LossLayer, 1 in the paper."""
    return np.array(
        [
            0.5 * (sigma * v) ** 2 if abs(v) < 1 / sigma**2 else abs(v) - 0.5 / sigma**2
            for v in np.asarray(x, np.float64).ravel()
        ]
    ).reshape(np.shape(x))


def log_loss(scores: Array, label: int) -> float:
    """-log of the softmax probability of the label."""
    shifted = np.asarray(scores, np.float64) - np.max(scores)
    return float(np.log(np.exp(shifted).sum()) - shifted[label])


def rpn_loss(
    scores: Array, deltas: Array, fg: Sequence[int], bg: Sequence[int], targets: Array, sigma: float
) -> tuple[float, float]:
    """Faster R-CNN, equation 1, both sums over the anchors drawn from one image, as py-faster-rcnn normalises.

    `scores` (K, 2) of (bg, fg) and `deltas` (K, 4) of all anchors; `targets` (F, 4) of the fg ones.
    """
    count = len(fg) + len(bg)
    classification = sum(log_loss(scores[k], 1) for k in fg) + sum(log_loss(scores[k], 0) for k in bg)
    box = sum(float(smooth_l1(deltas[k] - t, sigma).sum()) for k, t in zip(fg, targets, strict=True))
    return classification / count, box / count


def roi_loss(scores: Array, deltas: Array, labels: Array, targets: Array, sigma: float) -> tuple[float, float]:
    """Fast R-CNN, equations 1 and 2: -log p_u + [u >= 1] L_loc(t^u, v), the mean over all RoIs of the batch."""
    classification = sum(log_loss(row, int(u)) for row, u in zip(scores, labels, strict=True))
    box = sum(float(smooth_l1(deltas[r, u] - targets[r], sigma).sum()) for r, u in enumerate(labels) if u >= 1)
    return classification / len(labels), box / len(labels)


def convolve(maps: Array, weight: Array, bias: Array) -> Array:
    """(D, H, W) maps through a convolution of odd size, padded to keep their size."""
    out, _, side, _ = weight.shape
    pad = side // 2
    height, width = maps.shape[1:]
    padded = np.pad(maps, ((0, 0), (pad, pad), (pad, pad)))
    result = np.zeros((out, height, width)) + bias[:, None, None]
    for y in range(side):
        for x in range(side):
            result += np.einsum("od,dhw->ohw", weight[:, :, y, x], padded[:, y : y + height, x : x + width])
    return result


def half_away_from_zero(value: float) -> int:
    """C's round()."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def roi_pool(maps: Array, roi: Array, scale: float, size: int) -> Array:
    """Caffe's ROIPoolingLayer on one image: corners rounded to cells, both inclusive, bins from floor to ceil, max."""
    depth, height, width = maps.shape
    left, top, right, bottom = (half_away_from_zero(float(value) * scale) for value in roi)
    wide, high = max(right - left + 1, 1), max(bottom - top + 1, 1)
    pooled = np.zeros((depth, size, size))
    for py in range(size):
        for px in range(size):
            y1, y2 = top + py * high // size, top - (-(py + 1) * high // size)
            x1, x2 = left + px * wide // size, left - (-(px + 1) * wide // size)
            y1, y2 = (min(max(y, 0), height) for y in (y1, y2))
            x1, x2 = (min(max(x, 0), width) for x in (x1, x2))
            if y2 > y1 and x2 > x1:
                pooled[:, py, px] = maps[:, y1:y2, x1:x2].max(axis=(1, 2))
    return pooled


def bilinear(maps: Array, y: float, x: float) -> Array:
    """(D,) values between cells, whose centres lie at whole numbers; 0 more than a cell outside of the map."""
    _, height, width = maps.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return np.zeros(len(maps))
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    value = np.zeros(len(maps))
    for row in {math.floor(y), math.ceil(y)}:
        for column in {math.floor(x), math.ceil(x)}:
            value += maps[:, row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return value


def roi_align(maps: Array, roi: Array, scale: float, size: int, samples: int = 2) -> Array:
    """Mask R-CNN, section 3: nothing is rounded; the mean of samples x samples regular points of each bin.

    Pixel 0 is the square from 0 to 1, so a cell's centre lies half a cell from its corner.
    """
    left, top, right, bottom = (float(value) * scale - 0.5 for value in roi)
    bin_height, bin_width = (bottom - top) / size, (right - left) / size
    pooled = np.zeros((len(maps), size, size))
    for py in range(size):
        for px in range(size):
            points = [
                bilinear(
                    maps,
                    top + (py + (i + 0.5) / samples) * bin_height,
                    left + (px + (j + 0.5) / samples) * bin_width,
                )
                for i in range(samples)
                for j in range(samples)
            ]
            pooled[:, py, px] = np.mean(points, axis=0)
    return pooled
