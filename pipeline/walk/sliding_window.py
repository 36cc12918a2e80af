"""The prologue: a detector without proposals, which classifies a window at every place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.metrics.rows import pair_iou
from pipeline.views.contact_sheet import Key, Tile
from pipeline.views.drawing import ORANGE, SKY_BLUE, WHITE, BoxLayer, calmed, draw_boxes
from pipeline.walk.resizing import numbered

WINDOW, STEP = 64, 8
"""Side and step, px."""

_HALVINGS = 3


@dataclass(frozen=True)
class Windows:
    """How many windows there are.

    Attributes:
        across, down, count: of the image. pyramid: windows of the image, its half, its quarter, and all of them.
        pixels: how many times as many pixels as the image has all windows have.
        best: of each gt box the best IoU with a window.
    """

    side: int
    step: int
    across: int
    down: int
    count: int
    pyramid: list[int]
    pixels: float
    best: list[float]


def places(length: int, window: int, step: int, padding: int = 0) -> int:
    """How often a window fits along a side: (N - F + 2P) / S + 1, rounded down."""
    return (length - window + 2 * padding) // step + 1


def windows(height: int, width: int, boxes: np.ndarray) -> Windows:
    """Windows of an image, and how well the best of them meets each of (G, 4) gt boxes."""
    across, down = places(width, WINDOW, STEP), places(height, WINDOW, STEP)
    smaller = [
        places(width >> halving, WINDOW, STEP) * places(height >> halving, WINDOW, STEP) for halving in range(_HALVINGS)
    ]
    best = pair_iou(boxes[:, None], _all(across, down)[None]).max(axis=1)
    count = across * down
    return Windows(
        WINDOW, STEP, across, down, count, [*smaller, sum(smaller)], count * WINDOW**2 / (height * width), best.tolist()
    )


def _all(across: int, down: int) -> np.ndarray:
    y, x = np.mgrid[:down, :across].reshape(2, -1) * STEP
    return np.stack([x, y, x + WINDOW, y + WINDOW], axis=1).astype(np.float64)


def windows_picture(pixels: np.ndarray, boxes: np.ndarray, own: Windows, side: int) -> Tile:
    """The windows of the first row, one apart, and every eighth of all, beside the gt boxes."""
    every = _all(own.across, own.down)
    apart = WINDOW // STEP
    index = np.arange(own.count)
    tiled = every[(index % own.across % apart == 0) & (index // own.across % apart == 0)]
    shown = " x ".join(str(math.ceil(count / apart)) for count in (own.across, own.down))
    caption = f"{shown} of the {own.across} x {own.down} windows, and the first three"
    layers = [
        BoxLayer(tiled, ORANGE, thickness=1),
        BoxLayer(every[:3], SKY_BLUE, thickness=2),
        numbered(boxes),
    ]
    keys = [
        Key(SKY_BLUE, "the first three windows", "solid"),
        Key(ORANGE, "those that do not overlap", "solid"),
        Key(WHITE, "gt box with its number", "solid"),
    ]
    return Tile(draw_boxes(calmed(pixels), layers, side), caption, keys)
