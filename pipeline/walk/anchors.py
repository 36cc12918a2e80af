"""All anchors of the image, and those wholly inside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.nn.anchors import AnchorGrid, inside
from pipeline.views.contact_sheet import Key, Tile
from pipeline.views.drawing import (
    ORANGE,
    SKY_BLUE,
    VERMILLION,
    WHITE,
    YELLOW,
    BoxLayer,
    Colour,
    calmed,
    draw_boxes,
    enlarged,
)
from pipeline.views.marks import colour_ramp, draw_dots, heat_over, padded, ramp_keys, zoom_of
from pipeline.walk.checking import same
from pipeline.walk.resizing import Resized

_RATIO_COLOURS = (ORANGE, SKY_BLUE, YELLOW)


@dataclass(frozen=True)
class Anchors:
    """The anchors of an image.

    Attributes:
        every: (K, 4) float64, exact. inside: (K,) bool.
        cells: Fh, Fw. per_location: A. stride: px.
        first: the A anchors of the first location, with ratio, scale, width and height.
        middle: index of the location in the middle of the map.
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

    @property
    def inside_of_cells(self) -> Tensor:
        """(Fh, Fw, A) bool."""
        return self.inside.reshape(*self.cells, self.per_location)

    @property
    def places(self) -> list[tuple[int, int, int]]:
        """For each of the A shapes the columns and rows of cells where it lies inside, and in how many cells that is.

        Raises:
            RuntimeError: the cells do not form a rectangle.
        """
        found = self.inside_of_cells
        across, down = found.any(dim=0).sum(dim=0).tolist(), found.any(dim=1).sum(dim=0).tolist()
        counts = found.sum(dim=(0, 1)).tolist()
        same("places inside", [x * y for x, y in zip(across, down, strict=True)], counts)
        return list(zip(across, down, counts, strict=True))

    def location(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The (A, 4) anchors of a location, and their (2,) centre."""
        own = self.every[index * self.per_location : (index + 1) * self.per_location].numpy()
        return own, (own[0, :2] + own[0, 2:]) / 2


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
    """The anchors of the middle and of the first location, and the edges of all, on a canvas padded for those that
    stick out; how many of each location's anchors lie inside."""
    every = anchors.every.numpy()
    low = np.ceil(-every[:, :2].min(axis=0)).astype(int).clip(0) + 4
    high = np.ceil(every[:, 2:].max(axis=0) - [own.width, own.height]).astype(int).clip(0) + 4
    wide = padded(calmed(own.pixels), int(low[0]), int(low[1]), int(high[0]), int(high[1]))
    border = BoxLayer(np.array([[0, 0, own.width, own.height]]) + np.tile(low, 2), WHITE, thickness=1)
    border_key = Key(WHITE, "border of the image", "solid")
    canvas, _ = enlarged(wide, side)
    zoom = zoom_of(canvas, wide)
    shown, most = _edges(every + np.tile(low, 2), wide, canvas)
    shown = draw_boxes(shown, [BoxLayer(border.boxes * np.tile(zoom, 2), WHITE, thickness=1)], side)
    scale = [
        Key(_shade(1.0), f"{most:,} edges in a pixel"),
        Key(_shade(0.5), f"{most // 4:,}"),
        Key(_shade(0.0), "none"),
    ]
    return [
        _location_tile(anchors, anchors.middle, "middle", wide, low, border, ratios, side),
        _location_tile(anchors, 0, "first", wide, low, border, ratios, side),
        Tile(shown, f"the edges of all {anchors.count:,} anchors", [*scale, border_key]),
        _inside_tile(own, anchors, side),
    ]


def _location_tile(
    anchors: Anchors,
    index: int,
    name: str,
    wide: np.ndarray,
    low: np.ndarray,
    border: BoxLayer,
    ratios: list[float],
    side: int,
) -> Tile:
    """The anchors of a location on the image with `low` px (x, y) of padding to the left of it and above."""
    at, centre = anchors.location(index)
    of_ratio = len(at) // len(ratios)
    layers, keys = [border], []
    for row, ratio in enumerate(ratios):
        colour = _RATIO_COLOURS[row % len(_RATIO_COLOURS)]
        layers.append(BoxLayer(at[row * of_ratio : (row + 1) * of_ratio] + np.tile(low, 2), colour, thickness=2))
        keys.append(Key(colour, f"height / width {ratio:g}", "solid"))
    canvas = draw_boxes(wide, layers, side)
    draw_dots(canvas, (centre + low)[None] * zoom_of(canvas, wide), VERMILLION, 4)
    count = int(anchors.inside_of_cells.reshape(-1, anchors.per_location)[index].sum())
    where = f"the {len(at)} anchors of the {name} cell, centre ({centre[0]:g}, {centre[1]:g})"
    return Tile(canvas, f"{where}: {count} inside", keys)


def _inside_tile(own: Resized, anchors: Anchors, side: int) -> Tile:
    """How many anchors of each cell lie inside, over the image."""
    counts = anchors.inside_of_cells.sum(dim=2).numpy()
    most = anchors.per_location
    image = heat_over(own.pixels, counts, side, 0, most)
    found = np.unique(counts)
    keys = ramp_keys(found / most, [*map(str, found[:-1]), f"{found[-1]} anchors of the cell"])
    return Tile(image, f"how many anchors of each cell lie inside: {anchors.count_inside:,} in all", keys)


def _shade(value: float) -> Colour:
    red, green, blue = colour_ramp(np.array([value]))[0].tolist()
    return red, green, blue


def _edges(boxes: np.ndarray, image: np.ndarray, canvas: np.ndarray) -> tuple[np.ndarray, int]:
    """How many anchors have an edge at each pixel of the canvas, as a colour whose shade is the root of the share of
    the most; and the most."""
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
    most = max(int(counts.max()), 1)
    return colour_ramp(np.sqrt(counts / most)), most


def inside_boxes(anchors: Anchors) -> Tensor:
    """The (M, 4) float64 anchors that lie inside."""
    return anchors.every[torch.nonzero(anchors.inside).squeeze(1)]
