"""Dots, arrows and heat maps on pictures, and one picture padded for what sticks out of it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pipeline.views.contact_sheet import Key
from pipeline.views.drawing import BLACK, Colour, enlarged

_HEAT = 0.62
_OUTSIDE = 90
_SHIFT = 4  # bits of a pixel's fraction that cv2 draws with


def padded(image: np.ndarray, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """The image with so many px of grey around it."""
    sides = ((top, bottom), (left, right), (0, 0))
    return np.pad(image, sides, constant_values=_OUTSIDE)


def zoom_of(canvas: np.ndarray, image: np.ndarray) -> np.ndarray:
    """(2,) factors x, y from pixels of the image to those of the canvas that it was brought to."""
    return np.array([canvas.shape[1] / image.shape[1], canvas.shape[0] / image.shape[0]])


def draw_dots(canvas: np.ndarray, points: np.ndarray, colour: Colour, radius: int) -> None:
    """Filled circles at (N, 2) continuous x, y of the canvas, with a dark edge unless they are small."""
    places = _fixed(points)
    for x, y in places if radius > 2 else ():
        cv2.circle(canvas, (x, y), (radius + 1) << _SHIFT, BLACK, cv2.FILLED, cv2.LINE_8, _SHIFT)
    for x, y in places:
        cv2.circle(canvas, (x, y), radius << _SHIFT, colour, cv2.FILLED, cv2.LINE_8, _SHIFT)


def draw_arrows(canvas: np.ndarray, starts: np.ndarray, ends: np.ndarray, colour: Colour) -> None:
    """Arrows from (N, 2) to (N, 2) continuous x, y of the canvas, with heads of one size; a dot where each starts."""
    draw_dots(canvas, starts, colour, 2)
    for (x1, y1), (x2, y2) in zip(_fixed(starts), _fixed(ends), strict=True):
        length = float(np.hypot(x2 - x1, y2 - y1)) / (1 << _SHIFT)
        if length >= 4:
            head = min(6.0 / length, 0.5)
            for own, thickness in ((BLACK, 4), (colour, 2)):
                cv2.arrowedLine(canvas, (x1, y1), (x2, y2), own, thickness, cv2.LINE_AA, _SHIFT, head)


def _fixed(points: np.ndarray) -> list[tuple[int, int]]:
    # cv2 counts from the middle of the first pixel.
    places = np.round((points.reshape(-1, 2) - 0.5) * (1 << _SHIFT)).astype(int)
    return [(int(x), int(y)) for x, y in places]


def colour_ramp(shades: np.ndarray) -> np.ndarray:
    """(...) 0..1 to (..., 3) uint8 RGB of viridis, whose brightness alone shows the order."""
    levels = np.round(np.clip(shades, 0, 1) * 255).astype(np.uint8)
    if levels.size == 0:  # cv2 gives nothing then
        return np.zeros((*levels.shape, 3), np.uint8)
    colours = cv2.applyColorMap(levels.reshape(-1, 1), cv2.COLORMAP_VIRIDIS)[:, 0, ::-1]
    return colours.reshape(*levels.shape, 3)


def heat_map(
    values: np.ndarray, size: tuple[int, int], low: float | None = None, high: float | None = None
) -> np.ndarray:
    """(Fh, Fw) values as cells of colour, stretched to `size` (h, w): the lowest dark, the highest bright.

    `low` and `high` are the values at the ends of the ramp; without them those of the map.
    """
    low = float(values.min()) if low is None else low
    high = float(values.max()) if high is None else high
    shades = (values - low) / (high - low if high > low else 1.0)
    return cv2.resize(colour_ramp(shades), (size[1], size[0]), interpolation=cv2.INTER_NEAREST)


def heat_over(image: np.ndarray, values: np.ndarray, side: int, low: float, high: float) -> np.ndarray:
    """The image in grey at a longer side of `side` px, and the map's colours over it."""
    canvas, _ = enlarged(image, side)
    grey = canvas.astype(np.float32).mean(axis=2, keepdims=True)
    heat = heat_map(values, (canvas.shape[0], canvas.shape[1]), low, high)
    return np.round(_HEAT * heat + (1 - _HEAT) * grey).astype(np.uint8)


def ramp_keys(shades: np.ndarray, texts: Sequence[str]) -> list[Key]:
    """A legend of a few shades of the ramp, 0..1, as they look over a mid-grey image."""
    colours = np.round(_HEAT * colour_ramp(shades) + (1 - _HEAT) * 110).astype(int)
    return [Key((int(r), int(g), int(b)), text) for (r, g, b), text in zip(colours, texts, strict=True)]
