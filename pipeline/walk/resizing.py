"""From the photo to the image that the network sees, and the gt boxes with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from pipeline.datasets.resizing import resize_rgb, resized_size
from pipeline.families.faster_rcnn.params.typed import FasterRCNNParams
from pipeline.params.resize import ResizeParams
from pipeline.views.contact_sheet import Key, Tile
from pipeline.views.drawing import ORANGE, WHITE, BoxLayer, Colour, draw_boxes
from pipeline.walk.photo import Photo


@dataclass(frozen=True)
class Resized:
    """An image and its gt boxes by one rule.

    Attributes:
        pixels: (H, W, 3) uint8 RGB. boxes: (G, 4) float64. truncated: the same cut to whole pixels.
        scale: x, y: resized pixels per original one. stretch: scale y over scale x.
        cells: Fh, Fw of VGG16's map, poolings rounding down; cells_up: rounding up, as Caffe's.
    """

    pixels: np.ndarray
    boxes: np.ndarray
    truncated: np.ndarray
    scale: tuple[float, float]
    stretch: float
    cells: tuple[int, int]
    cells_up: tuple[int, int]

    @property
    def height(self) -> int:
        """H, px."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """W, px."""
        return int(self.pixels.shape[1])

    @property
    def gt(self) -> torch.Tensor:
        """The (G, 4) float64 gt boxes."""
        return torch.from_numpy(self.boxes)


def resized(photo: Photo, rule: ResizeParams, halvings: int) -> Resized:
    """The photo by a rule.

    Args:
        halvings: how often the trunk halves the image.
    """
    height, width = resized_size(photo.pixels.shape[0], photo.pixels.shape[1], rule)
    scale = width / photo.pixels.shape[1], height / photo.pixels.shape[0]
    boxes = photo.boxes * np.array([*scale, *scale])
    return Resized(
        resize_rgb(photo.pixels, rule),
        boxes,
        np.trunc(boxes),
        scale,
        scale[1] / scale[0],
        (_halved(height, halvings, 0), _halved(width, halvings, 0)),
        (_halved(height, halvings, 1), _halved(width, halvings, 1)),
    )


def both_rules(photo: Photo, params: FasterRCNNParams, halvings: int) -> tuple[Resized, Resized]:
    """By the fixed size of the lectures, and by the paper's rule."""
    fixed = params.resize.model_copy(update={"rule": "fixed"})
    return resized(photo, fixed, halvings), resized(photo, params.resize, halvings)


def numbered(boxes: np.ndarray, colour: Colour = WHITE, thickness: int = 2) -> BoxLayer:
    """(G, 4) gt boxes with the numbers that the page's tables give them."""
    return BoxLayer(boxes, colour, [str(index) for index in range(len(boxes))], thickness)


def _halved(length: int, times: int, up: int) -> int:
    for _ in range(times):
        length = max(1, (length + up) // 2)
    return length


def resized_pictures(fixed: Resized, paper: Resized, side: int) -> list[Tile]:
    """Both images with their gt boxes, at one scale."""
    longest = max(fixed.height, fixed.width, paper.height, paper.width)
    tiles = []
    for own, name in ((fixed, "fixed size"), (paper, "the paper's rule")):
        image = draw_boxes(
            own.pixels, [numbered(own.boxes, ORANGE)], round(side * max(own.height, own.width) / longest)
        )
        tiles.append(Tile(image, f"{name}: {own.width} x {own.height} px", [Key(ORANGE, "gt box", "solid")]))
    return tiles
