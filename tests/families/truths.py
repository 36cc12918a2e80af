"""Objects of an image, and whether a mirrored image has the mirrored assignment."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.artifacts.image_views import Entry, seen_boxes
from pipeline.dense.assignment import Assignment, Truth
from pipeline.geometry.points import Grid


def truth(*boxes: list[float], regions: list[list[float]] | None = None) -> Truth:
    """Box n is of class n."""
    own = np.array(boxes, np.float32).reshape(-1, 4)
    return Truth(own, np.arange(1, len(own) + 1), np.array(regions or [], np.float32).reshape(-1, 4))


def halves(objects: Sequence[tuple[int, ...]], size: tuple[int, int]) -> list[list[float]]:
    """Boxes on halves of pixels, cut off at the image's right and bottom, of (x, y, w, h) in halves of pixels."""
    height, width = size
    return [[x / 2, y / 2, min(x + w, 2 * width) / 2, min(y + h, 2 * height) / 2] for x, y, w, h in objects]


def check_mirror(
    assigned: Callable[[Truth, tuple[int, int]], tuple[Assignment, Grid]], known: Truth, size: tuple[int, int]
) -> None:
    """An image of (H, W) px and its mirror image: what each location or anchor is to find is mirrored, too."""
    mirror, width = Entry("a", 1), size[1]
    seen = Truth(seen_boxes(known.boxes, mirror, width), known.labels, seen_boxes(known.regions, mirror, width))
    (own, grid), (other, _) = assigned(known, size), assigned(seen, size)
    for name in ("labels", "quality"):
        levels = zip(grid.split(getattr(own, name)), grid.split(getattr(other, name)), strict=True)
        assert all((one[:, ::-1] == two).all() for one, two in levels)
