"""Which part of an image an augmented view shows, and where boxes lie in it. NumPy only, without pixels.

Shapes: G boxes; P parts of an image. Boxes are xyxy, px of the image that is drawn from or of the view.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.geometry.points import on_grid

Floats = npt.NDArray[np.float64]


class Rectangle(NamedTuple):
    """Whole pixels, from the left and top edge to the right and bottom edge."""

    x1: int
    y1: int
    x2: int
    y2: int

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.y2 - self.y1, self.x2 - self.x1


@dataclass(frozen=True)
class Window:
    """What a view shows of an image.

    Attributes:
        source: (H, W) of the image.
        shown: the part that is shown, px of the image; beyond its edges there is nothing but a colour.
        flip: whether the view is mirrored left to right.
    """

    source: tuple[int, int]
    shown: Rectangle
    flip: bool = False

    @property
    def is_inside(self) -> bool:
        """Whether the view lies within the image."""
        height, width = self.source
        return self.shown.x1 >= 0 and self.shown.y1 >= 0 and self.shown.x2 <= width and self.shown.y2 <= height

    @property
    def of_image(self) -> Rectangle:
        """The part of the image that is shown."""
        (height, width), own = self.source, self.shown
        x1, y1 = min(max(own.x1, 0), width), min(max(own.y1, 0), height)
        return Rectangle(x1, y1, max(x1, min(own.x2, width)), max(y1, min(own.y2, height)))

    def seen(self, boxes: npt.NDArray, size: tuple[int, int]) -> Floats:
        """(G, 4) boxes of the image as they lie in the view of (H, W) `size`, not clipped, on the grid of `on_grid`."""
        (height, width), own = size, self.shown
        scale = np.array([width / (own.x2 - own.x1), height / (own.y2 - own.y1)] * 2)
        moved: Floats = on_grid((boxes - np.array([own.x1, own.y1] * 2)) * scale)
        return flipped(moved, width) if self.flip else moved


def flipped(boxes: npt.NDArray, width: float) -> Floats:
    """(G, 4) boxes of an image of `width` px, mirrored left to right."""
    return np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)


def clipped(boxes: Floats, size: tuple[int, int]) -> Floats:
    """(G, 4) boxes clipped to an image of (H, W)."""
    height, width = size
    return np.clip(boxes, 0, np.array([width, height] * 2, np.float64))


def centres_inside(boxes: npt.NDArray, places: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """(P, G) whether the centre of each of G boxes, put on `on_grid`, lies inside each of P rectangles of whole pixels
    and not on its edge."""
    own = on_grid(boxes)
    doubled, low, high = own[:, :2] + own[:, 2:], 2 * places[:, None, :2], 2 * places[:, None, 2:]
    inside: npt.NDArray[np.bool_] = np.all((doubled > low) & (doubled < high), axis=2)
    return inside
