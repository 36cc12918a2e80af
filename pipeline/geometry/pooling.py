"""RoIPool and RoIAlign in NumPy, for pictures of a few RoIs; equal to the detector's operators.

Shapes: D channels; Fh, Fw feature map height, width; R RoIs; S cells of a pooled side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.geometry.layout import MapLayout

CANONICAL_SIDE, CANONICAL_STRIDE = 224, 16
"""A RoI as large as an image of ImageNet is pooled from a map of stride 16, as from VGG16's and ResNet's (FPN, section
4.2)."""


@dataclass(frozen=True)
class Pooling:
    """How RoIs are pooled.

    Attributes:
        kind: roi_pool (Fast R-CNN, section 2.1) or roi_align (Mask R-CNN, section 3).
        size: S.
        samples: RoIAlign's, on each axis of a bin; 0: one per cell that the RoI has there, rounded up.
        aligned: whether RoIAlign shifts by half a cell, so that a cell's centre lies half a cell from its corner.
    """

    kind: str
    size: int
    samples: int = 2
    aligned: bool = True


def roi_levels(rois: np.ndarray, strides: Sequence[int]) -> np.ndarray:
    """(R,) int64: the level that each of (R, 4) RoIs, px, is pooled from; one twice as large, from a level further.

    Each stride is twice the one before.
    """
    sides = (rois[:, 2:] - rois[:, :2]).astype(np.float64)
    side = np.sqrt(np.maximum(sides.prod(axis=1), 1e-9))
    wanted = np.log2(side * (CANONICAL_STRIDE / CANONICAL_SIDE / strides[0]))
    return np.clip(np.floor(wanted + 1e-6), 0, len(strides) - 1).astype(np.int64)


def pool_rois(maps: Sequence[np.ndarray], rois: np.ndarray, layout: MapLayout, pooling: Pooling) -> np.ndarray:
    """Pool RoIs, each from the map of its level.

    Args:
        maps: (D, Fh, Fw) floats of each level of `layout`.
        rois: (R, 4) xyxy, px.

    Returns:
        (R, D, S, S) float32.
    """
    pool = {"roi_pool": _max_pool, "roi_align": _align}[pooling.kind]
    maps = [own.astype(np.float32) for own, level in zip(maps, layout.levels, strict=True) if level.pooled]
    strides = layout.pooled.strides
    pooled = [
        pool(maps[level], roi.astype(np.float32), np.float32(1 / strides[level]), pooling)
        for level, roi in zip(roi_levels(rois, strides), rois, strict=True)
    ]
    return np.stack(pooled) if pooled else np.zeros((0, len(maps[0]), pooling.size, pooling.size), np.float32)


def _max_pool(feature_map: np.ndarray, roi: np.ndarray, scale: np.float32, pooling: Pooling) -> np.ndarray:
    (depth, height, width), size = feature_map.shape, pooling.size
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


def _align(feature_map: np.ndarray, roi: np.ndarray, scale: np.float32, pooling: Pooling) -> np.ndarray:
    corners = roi * scale
    if pooling.aligned:
        corners = corners - np.float32(0.5)
    lengths = corners[2:] - corners[:2]
    if not pooling.aligned:
        lengths = np.maximum(lengths, 1)  # no RoI is shorter than a cell
    of_rows = _weights(corners[1], lengths[1], feature_map.shape[1], pooling)
    of_columns = _weights(corners[0], lengths[0], feature_map.shape[2], pooling)
    pooled: np.ndarray = of_rows @ feature_map @ of_columns.T
    return pooled


def _weights(start: np.float32, length: np.float32, cells: int, pooling: Pooling) -> np.ndarray:
    """(S, cells) float32: how much each cell of an axis counts in each bin."""
    size = pooling.size
    samples = pooling.samples or int(np.ceil(length / size))
    if samples < 1:
        return np.zeros((size, cells), np.float32)
    steps = (np.arange(size * samples, dtype=np.float32) + np.float32(0.5)) / np.float32(size * samples)
    places = start + length * steps
    # A sample up to one cell outside takes the border's value, one further out counts 0.
    outside = (places < -1) | (places > cells)
    distance = np.clip(places, 0, cells - 1)[:, None] - np.arange(cells, dtype=np.float32)
    weights = np.where(outside[:, None], 0, np.maximum(1 - np.abs(distance), 0)).astype(np.float32)
    mean: np.ndarray = weights.reshape(size, samples, cells).mean(axis=1)
    return mean
