"""Places and shapes of anchors, and the anchors themselves in NumPy, for what is shown and checked
without torch; `pipeline.nn.anchors` makes them in torch.

A placement is `centred`: exact boxes on the centres of cells; `detectron2`: exact boxes on the upper left corners of
cells, the first on the image's; or `torchvision`: on the same corners, their corners rounded to whole pixels, and a
level's anchors as far apart as whole pixels of the padded image come on each of its cells. The last is less than the
stride where a level has half a cell more than the padded image: P6 of an odd P5.

Shapes: Fh, Fw feature map height, width; A anchors per location; K anchors in an image, of all levels. Order: level,
then y, x, ratio, scale (Faster R-CNN, section 3.1.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.geometry.layout import MapLayout

Floats = npt.NDArray[np.float64]
_ROUNDING = 1e-6  # px: more than the root of a product is off a whole size, and less than any size is short of one
AnchorPlacement = Literal["centred", "detectron2", "torchvision"]


def grid_shapes(base_size: float, ratios: Sequence[float], scales: Sequence[float]) -> Floats:
    """The (A, 2) float64 exact widths and heights, px, of the anchors of a location of the first level, ratio outer,
    scale inner; `level_shapes` makes those of any level of them."""
    ratio = np.repeat(np.asarray(ratios, np.float64), len(scales))
    side = base_size * np.tile(np.asarray(scales, np.float64), len(ratios))
    return np.stack([side / np.sqrt(ratio), side * np.sqrt(ratio)], axis=1)


def level_shapes(shapes: Floats, scale: float, placement: AnchorPlacement, whole_sizes: bool = False) -> Floats:
    """(A, 2) widths and heights of a level that is so many times as coarse as the first (`MapLayout.scales`).

    Args:
        whole_sizes: an anchor's size, the root of its area, is truncated to whole pixels before it is given its ratio,
            as torchvision's RetinaNet has it: 40 for 32 times the cube root of 2.
    """
    own: Floats = shapes * scale
    if whole_sizes:
        size = np.sqrt(own.prod(axis=1, keepdims=True))
        own = own * (np.floor(size + _ROUNDING) / size)
    if placement == "torchvision":
        own = 2.0 * np.round((own / 2).astype(np.float32)).astype(np.float64)
    return own


def level_steps(layout: MapLayout, cells: Sequence[Any], level: int, placement: AnchorPlacement) -> Any:
    """Pixels from one location of a level to the next, along one axis.

    Args:
        cells: of each level along the axis; numbers, arrays of them, or symbols of a trace.
    """
    if placement != "torchvision" or level == 0:
        return layout.strides[level]
    return cells[0] * layout.strides[0] // cells[level]


def first_location(placement: AnchorPlacement) -> float:
    """Where the first location of a level lies along either axis, in steps."""
    return 0.5 if placement == "centred" else 0.0


def grid_centres(
    cells: Sequence[tuple[int, int]], level: int, layout: MapLayout, placement: AnchorPlacement = "centred"
) -> Floats:
    """The (Fh * Fw, 2) float64 x, y of all locations of a level, px.

    Args:
        cells: (Fh, Fw) of every level.
    """
    ys, xs = (
        (np.arange(along[level]) + first_location(placement)) * level_steps(layout, along, level, placement)
        for along in zip(*cells, strict=True)
    )
    x, y = np.meshgrid(xs, ys)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def grid_anchors(centres: Floats, shapes: Floats) -> npt.NDArray[np.float32]:
    """The (Fh * Fw * A, 4) float32 xyxy anchors of (Fh * Fw, 2) locations of a level with its (A, 2) shapes, px."""
    half = np.concatenate([-shapes, shapes], axis=1) / 2
    anchors = np.concatenate([centres, centres], axis=1)[:, None] + half
    return anchors.reshape(-1, 4).astype(np.float32)
