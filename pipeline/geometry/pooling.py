"""RoIPool and RoIAlign in NumPy, for pictures of a few RoIs; equal to the detector's operators.

Shapes: L levels; D channels; Fh, Fw feature map height, width; R RoIs; S cells of a pooled side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CANONICAL_SIDE, CANONICAL_STRIDE = 224, 16
"""A RoI as large as an image of ImageNet is pooled from a map of stride 16, as from VGG16's and ResNet's (FPN, section
4.2)."""
_SAMPLES = 2  # on each axis of a bin, as the detector's RoIAlign takes


def roi_levels(rois: np.ndarray, strides: Sequence[int]) -> np.ndarray:
    """(R,) int64: the level that each of (R, 4) RoIs, px, is pooled from; one twice as large, from a level further.

    Each stride is twice the one before.
    """
    sides = (rois[:, 2:] - rois[:, :2]).astype(np.float64)
    side = np.sqrt(np.maximum(sides.prod(axis=1), 1e-9))
    wanted = np.log2(side * (CANONICAL_STRIDE / CANONICAL_SIDE / strides[0]))
    return np.clip(np.floor(wanted + 1e-6), 0, len(strides) - 1).astype(np.int64)


def pool_rois(maps: Sequence[np.ndarray], rois: np.ndarray, strides: Sequence[int], size: int, kind: str) -> np.ndarray:
    """Pool RoIs, each from the map of its level.

    Args:
        maps: L arrays of (D, Fh, Fw) floats.
        rois: (R, 4) xyxy, px.
        strides: of the L levels, px.
        size: S.
        kind: roi_pool (Fast R-CNN, section 2.1) or roi_align (Mask R-CNN, section 3).

    Returns:
        (R, D, S, S) float32.
    """
    pool = {"roi_pool": _max_pool, "roi_align": _align}[kind]
    maps = [feature_map.astype(np.float32) for feature_map in maps]
    pooled = [
        pool(maps[level], roi.astype(np.float32), np.float32(1 / strides[level]), size)
        for level, roi in zip(roi_levels(rois, strides), rois, strict=True)
    ]
    return np.stack(pooled) if pooled else np.zeros((0, len(maps[0]), size, size), np.float32)


def _max_pool(feature_map: np.ndarray, roi: np.ndarray, scale: np.float32, size: int) -> np.ndarray:
    depth, height, width = feature_map.shape
    # Halves are rounded away from zero, as in C.
    x1, y1, x2, y2 = (int(np.copysign(np.floor(np.abs(value) + np.float32(0.5)), value)) for value in roi * scale)
    rows, columns = _bins(y1, y2, height, size), _bins(x1, x2, width, size)
    pooled = np.zeros((depth, size, size), np.float32)
    for row, (top, bottom) in enumerate(rows):
        for column, (left, right) in enumerate(columns):
            if bottom > top and right > left:
                pooled[:, row, column] = feature_map[:, top:bottom, left:right].max(axis=(1, 2))
    return pooled


def _bins(first: int, last: int, cells: int, size: int) -> list[tuple[int, int]]:
    """First cell and the one after the last of each bin; empty where both are equal."""
    step = np.float32(max(last - first + 1, 1)) / np.float32(size)
    index = np.arange(size + 1, dtype=np.float32)
    starts = np.floor(index[:-1] * step).astype(int) + first
    ends = np.ceil(index[1:] * step).astype(int) + first
    return list(zip(np.clip(starts, 0, cells).tolist(), np.clip(ends, 0, cells).tolist(), strict=True))


def _align(feature_map: np.ndarray, roi: np.ndarray, scale: np.float32, size: int) -> np.ndarray:
    corners = roi * scale - np.float32(0.5)
    of_rows = _weights(corners[1], corners[3], feature_map.shape[1], size)
    of_columns = _weights(corners[0], corners[2], feature_map.shape[2], size)
    pooled: np.ndarray = of_rows @ feature_map @ of_columns.T
    return pooled


def _weights(start: np.float32, end: np.float32, cells: int, size: int) -> np.ndarray:
    """(S, cells) float32: how much each cell of an axis counts in each bin."""
    steps = (np.arange(size * _SAMPLES, dtype=np.float32) + np.float32(0.5)) / np.float32(size * _SAMPLES)
    places = start + (end - start) * steps
    # A sample up to one cell outside takes the border's value, one further out counts 0.
    outside = (places < -1) | (places > cells)
    distance = np.clip(places, 0, cells - 1)[:, None] - np.arange(cells, dtype=np.float32)
    weights = np.where(outside[:, None], 0, np.maximum(1 - np.abs(distance), 0)).astype(np.float32)
    mean: np.ndarray = weights.reshape(size, _SAMPLES, cells).mean(axis=1)
    return mean
