"""Anchors in NumPy, for what is shown and checked without torch; they lie as `pipeline.nn.anchors` places them.

Shapes: Fh, Fw feature map height, width; A anchors per location; K anchors in an image, of all levels. Order: level,
then y, x, ratio, scale (Faster R-CNN, section 3.1.1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def grid_shapes(base_size: float, ratios: Sequence[float], scales: Sequence[float]) -> Floats:
    """The (A, 2) float64 widths and heights, px, of the anchors of a location of the first level, ratio outer, scale
    inner; those of another level are as much larger as its stride is (`MapLayout.scales`)."""
    ratio = np.repeat(np.asarray(ratios, np.float64), len(scales))
    side = base_size * np.tile(np.asarray(scales, np.float64), len(ratios))
    return np.stack([side / np.sqrt(ratio), side * np.sqrt(ratio)], axis=1)


def grid_centres(feature_height: int, feature_width: int, stride: int) -> Floats:
    """The (Fh * Fw, 2) float64 x, y of all locations of a level, px; the first lies at half a stride."""
    ys, xs = ((np.arange(cells) + 0.5) * stride for cells in (feature_height, feature_width))
    x, y = np.meshgrid(xs, ys)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def grid_anchors(centres: Floats, shapes: Floats) -> npt.NDArray[np.float32]:
    """The (Fh * Fw * A, 4) float32 xyxy anchors of (Fh * Fw, 2) locations of a level with its (A, 2) shapes, px."""
    half = np.concatenate([-shapes, shapes], axis=1) / 2
    anchors = np.concatenate([centres, centres], axis=1)[:, None] + half
    return anchors.reshape(-1, 4).astype(np.float32)
