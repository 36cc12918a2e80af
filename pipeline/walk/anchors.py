"""All anchors of the image, and those wholly inside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.nn.anchors import AnchorGrid, inside
from pipeline.views.contact_sheet import Key, Tile
from pipeline.views.drawing import ORANGE, SKY_BLUE, WHITE, YELLOW, BoxLayer, calmed, draw_boxes, enlarged
from pipeline.views.marks import colour_ramp, padded, zoom_of
from pipeline.walk.resizing import Resized

_RATIO_COLOURS = (ORANGE, SKY_BLUE, YELLOW)


@dataclass(frozen=True)
class Anchors:
    """The anchors of an image.

    Attributes:
        every: (K, 4) float64, exact. inside: (K,) bool.
        cells: Fh, Fw. per_location: A. stride: px.
        first: the A anchors of the first location, with ratio, scale, width and height.
        middle: index of the location whose anchors are drawn.
    """

    every: Tensor
    inside: Tensor
    cells: tuple[int, int]
    per_location: int
    stride: int
    first: list[tuple[float, float, float, float, list[float]]]
    middle: int

    @property
    def count(self) -> int:
        """K."""
        return len(self.every)

    @property
    def count_inside(self) -> int:
        """How many lie wholly inside."""
        return int(self.inside.sum())


def anchors_of(
    grid: AnchorGrid, cells: tuple[int, int], own: Resized, ratios: list[float], scales: list[float]
) -> Anchors:
    """The anchors on a map of (Fh, Fw) cells."""
    every = grid.exact([cells])
    shapes = [(ratio, scale) for ratio in ratios for scale in scales]
    first = [
        (ratio, scale, box[2] - box[0], box[3] - box[1], box)
        for (ratio, scale), box in zip(shapes, every[: len(shapes)].tolist(), strict=True)
    ]
    middle = cells[0] // 2 * cells[1] + cells[1] // 2
    return Anchors(
        every,
        inside(every, own.height, own.width),
        cells,
        grid.per_location,
        grid.layout.strides[0],
        first,
        middle,
    )


def anchors_pictures(own: Resized, anchors: Anchors, ratios: list[float], side: int) -> list[Tile]:
    """The anchors of one location; the edges of all anchors, on a canvas padded for those that stick out."""
    every = anchors.every.numpy()
    low = np.ceil(-every[:, :2].min(axis=0)).astype(int).clip(0) + 4
    high = np.ceil(every[:, 2:].max(axis=0) - [own.width, own.height]).astype(int).clip(0) + 4
    wide = padded(calmed(own.pixels), int(low[0]), int(low[1]), int(high[0]), int(high[1]))
    move = np.tile(low, 2).astype(np.float32)
    border = BoxLayer(np.array([[0, 0, own.width, own.height]]) + move, WHITE, thickness=1)
    count = anchors.per_location
    at = every[anchors.middle * count : (anchors.middle + 1) * count] + move
    of_ratio = count // len(ratios)
    layers = [
        BoxLayer(at[index * of_ratio : (index + 1) * of_ratio], _RATIO_COLOURS[index % 3], thickness=2)
        for index in range(len(ratios))
    ]
    keys = [Key(_RATIO_COLOURS[index % 3], f"height / width {ratio:g}", "solid") for index, ratio in enumerate(ratios)]
    one = Tile(draw_boxes(wide, [border, *layers], side), f"the {count} anchors of one location", keys)
    canvas, _ = enlarged(wide, side)
    shown = _edges(every + move, wide, canvas)
    shown = draw_boxes(shown, [BoxLayer(border.boxes * np.tile(zoom_of(canvas, wide), 2), WHITE, thickness=1)], side)
    text = f"the edges of all {anchors.count:,} anchors, the brighter the more; {anchors.count_inside:,} lie inside"
    return [one, Tile(shown, text, [Key(WHITE, "border of the image", "solid")])]


def _edges(boxes: np.ndarray, image: np.ndarray, canvas: np.ndarray) -> np.ndarray:
    """How many anchors have an edge at each pixel of the canvas, as a colour."""
    height, width = canvas.shape[:2]
    zoom = np.tile(zoom_of(canvas, image), 2)
    corners = np.clip(np.floor(boxes * zoom), 0, [width - 1, height - 1] * 2).astype(int)
    across, down = np.zeros((height, width + 1)), np.zeros((height + 1, width))
    x1, y1, x2, y2 = corners.T
    for y in (y1, y2):
        np.add.at(across, (y, x1), 1)
        np.add.at(across, (y, x2 + 1), -1)
    for x in (x1, x2):
        np.add.at(down, (y1, x), 1)
        np.add.at(down, (y2 + 1, x), -1)
    counts = across.cumsum(axis=1)[:, :-1] + down.cumsum(axis=0)[:-1]
    return colour_ramp(np.sqrt(counts / max(counts.max(), 1)))


def inside_boxes(anchors: Anchors) -> Tensor:
    """The (M, 4) float64 anchors that lie inside."""
    return anchors.every[torch.nonzero(anchors.inside).squeeze(1)]
