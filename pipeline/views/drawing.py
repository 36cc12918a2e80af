"""Boxes and short texts drawn into images.

Boxes are float32 xyxy, pixels of the image, continuous. The colours are those of Okabe and Ito, which people with any
common colour blindness distinguish.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import cv2
import numpy as np

Colour = tuple[int, int, int]
Dash = Literal["solid", "dashed", "dotted"]

ORANGE: Colour = (230, 159, 0)
SKY_BLUE: Colour = (86, 180, 233)
GREEN: Colour = (0, 158, 115)
YELLOW: Colour = (240, 228, 66)
BLUE: Colour = (0, 114, 178)
VERMILLION: Colour = (213, 94, 0)
PURPLE: Colour = (204, 121, 167)
WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)

TEXT_SIZE = 14

# Of the two upright fonts of OpenCV, the one whose zero has no stroke and whose brackets are narrow. It has one weight.
_FONT = "uni"

# Pixels drawn and left out.
_DASHES: dict[Dash, tuple[int, int]] = {"solid": (1, 0), "dashed": (10, 6), "dotted": (3, 4)}

_PAD = 3
_CALM, _FLOOR = 0.8, 40
_FAINT = 0.3
_CASING = 0.3  # how much of a pixel is left under the casing of a line
_LIGHT_CASING_BELOW = 100  # luminance, 0..255
# A box that ends at the border must not end one pixel beyond it because zooming rounded up.
_ROUNDING = 1e-3


@dataclass(frozen=True)
class BoxLayer:
    """Boxes of one kind: (N, 4) `boxes` in `colour`, lines of `thickness` px, a text each in `labels` or none.

    A line has a casing, dark or, where its colour is dark, light, so that it is seen on any photo. One that is `faint`
    has none and lets the photo through.
    """

    boxes: np.ndarray
    colour: Colour
    labels: Sequence[str] = ()
    thickness: int = 2
    dash: Dash = "solid"
    faint: bool = False


class Spot(NamedTuple):
    """A place in a picture, x1, y1, x2, y2 as shares of its width and height, and what the pointer shows there."""

    place: tuple[float, float, float, float]
    text: str


def spots_of(boxes: np.ndarray, texts: Sequence[str], image: np.ndarray) -> list[Spot]:
    """A spot for each of (N, 4) boxes, pixels of the image; boxes that stick out are cut at the border."""
    height, width = image.shape[:2]
    places = np.clip(boxes.reshape(-1, 4) / np.array([width, height, width, height]), 0, 1).round(4)
    return [Spot((x1, y1, x2, y2), text) for (x1, y1, x2, y2), text in zip(places.tolist(), texts, strict=True)]


def enlarged(image: np.ndarray, longer_side: int) -> tuple[np.ndarray, tuple[float, float]]:
    """The image resized to this longer side, and the factors (x, y)."""
    height, width = image.shape[:2]
    factor = longer_side / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    method = cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA
    resized = cv2.resize(np.ascontiguousarray(image), size, interpolation=method)
    return resized, (size[0] / width, size[1] / height)


def draw_boxes(image: np.ndarray, layers: Sequence[BoxLayer], longer_side: int) -> np.ndarray:
    """The image at `longer_side`, with the boxes of all layers and then, on top of them, their labels.

    Args:
        image: (H, W, 3) uint8 RGB.
        layers: boxes in pixels of `image`; later layers cover earlier ones.
        longer_side: pixels; boxes grow with the image, lines and texts keep their size.

    Returns:
        (h, w, 3) uint8 RGB. Lines lie within their boxes, and boxes that stick out are cut at the border.
    """
    canvas, (zoom_x, zoom_y) = enlarged(image, longer_side)
    zoom = np.array([zoom_x, zoom_y, zoom_x, zoom_y])
    tags: list[tuple[tuple[int, int, int, int], str, Colour]] = []
    zoomed = [corners_of(layer.boxes.reshape(-1, 4) * zoom).tolist() for layer in layers]
    _draw_casings(canvas, layers, zoomed)
    for layer, corners in zip(layers, zoomed, strict=True):
        for index, (left, top, right, bottom) in enumerate(corners):
            _draw_frame(canvas, left, top, right, bottom, layer)
            if index < len(layer.labels):
                tags.append(((left, top, right, bottom), layer.labels[index], layer.colour))
    taken: list[tuple[int, int, int, int]] = []
    for corner, text, colour in tags:
        taken.append(_draw_tag(canvas, corner, text, colour, taken))
    return canvas


def calmed(image: np.ndarray) -> np.ndarray:
    """The image with half of its colour and with its darks lifted: lines keep their colours apart, and a dark animal is
    seen."""
    grey = image.astype(np.float32).mean(axis=2, keepdims=True)
    return np.round(_CALM * (image + grey) / 2 + _FLOOR).astype(np.uint8)


def corners_of(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) int64: first and last pixel (x1, y1, x2, y2, both covered) of continuous boxes."""
    first = np.floor(boxes[:, :2] + _ROUNDING)
    last = np.maximum(np.ceil(boxes[:, 2:] - _ROUNDING) - 1, first)
    return np.concatenate([first, last], axis=1).astype(np.int64)


def _draw_casings(canvas: np.ndarray, layers: Sequence[BoxLayer], corners: Sequence[list[list[int]]]) -> None:
    """A pixel on both sides of each line, under all lines, so that no line hides another."""
    for light in (False, True):
        under = np.zeros(canvas.shape[:2], bool)
        for layer, own in zip(layers, corners, strict=True):
            if layer.faint or not layer.thickness or is_dark(layer.colour) != light:
                continue
            wide = layer.thickness + 1
            for left, top, right, bottom in own:
                inside = slice(max(top - 1, 0), max(bottom + 2, 0)), slice(max(left - 1, 0), max(right + 2, 0))
                for y in (top - 1, bottom + 1 - layer.thickness):
                    under[max(y, 0) : max(y + wide + 1, 0), inside[1]] = True
                for x in (left - 1, right + 1 - layer.thickness):
                    under[inside[0], max(x, 0) : max(x + wide + 1, 0)] = True
        canvas[under] = np.round(_CASING * canvas[under] + (1 - _CASING) * (255 if light else 0))


def is_dark(colour: Colour) -> bool:
    """Whether a line of this colour needs a light casing."""
    return _luminance(colour) < _LIGHT_CASING_BELOW


def _draw_frame(canvas: np.ndarray, left: int, top: int, right: int, bottom: int, layer: BoxLayer) -> None:
    """Lines within the box: thicker lines of cv2 would spread to both sides, and round the corners."""
    wide, high = min(layer.thickness, right - left + 1), min(layer.thickness, bottom - top + 1)
    for y in (top, bottom - high + 1):
        draw_line(canvas, (left, right), (y, y + high - 1), layer.colour, layer.dash, layer.faint)
    for x in (left, right - wide + 1):
        draw_line(canvas, (x, x + wide - 1), (top, bottom), layer.colour, layer.dash, layer.faint)


def draw_line(
    canvas: np.ndarray, x: tuple[int, int], y: tuple[int, int], colour: Colour, dash: Dash, faint: bool = False
) -> None:
    """A line along its longer side, from the first to the last pixel of x and of y, cut at the canvas' border."""
    drawn, left_out = _DASHES[dash]
    along = int(y[1] - y[0] > x[1] - x[0])
    first, last = (y if along else x)[0], (y if along else x)[1]
    places = np.arange(max(first, 0), min(last, canvas.shape[1 - along] - 1) + 1)
    places = places[(places - first) % (drawn + left_out) < drawn]
    across = x if along else y
    for other in range(max(across[0], 0), min(across[1], canvas.shape[along] - 1) + 1):
        own = (places, other) if along else (other, places)
        canvas[own] = np.round(_FAINT * np.array(colour) + (1 - _FAINT) * canvas[own]) if faint else colour


def _draw_tag(
    canvas: np.ndarray,
    corners: tuple[int, int, int, int],
    text: str,
    colour: Colour,
    taken: Sequence[tuple[int, int, int, int]],
) -> tuple[int, int, int, int]:
    """A filled rectangle with text at a corner of its box, where it covers no other tag if there is such a place."""
    left, top, right, bottom = corners
    width, height = text_width(text) + 2 * _PAD, TEXT_SIZE + 2 * _PAD
    limit_x, limit_y = max(0, canvas.shape[1] - width), max(0, canvas.shape[0] - height)
    wanted = [(x, y) for y in (top - height, bottom + 1, top, bottom - height) for x in (left, right - width + 1)]
    places = [(min(max(x, 0), limit_x), min(max(y, 0), limit_y)) for x, y in wanted]
    free = [(x, y) for x, y in places if not any(_overlap((x, y, x + width, y + height), tag) for tag in taken)]
    x, y = (free or places)[0]
    cv2.rectangle(canvas, (x, y), (x + width - 1, y + height - 1), colour, cv2.FILLED)
    draw_text(canvas, text, (x + _PAD, y + _PAD), BLACK if _is_light(colour) else WHITE)
    return (x, y, x + width, y + height)


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _is_light(colour: Colour) -> bool:
    return _luminance(colour) > 110


def _luminance(colour: Colour) -> float:
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def text_width(text: str) -> int:
    """The width of a text, px."""
    rectangle = cv2.getTextSize((1 << 14, 64), text, (0, 0), cv2.FontFace(_FONT), TEXT_SIZE)
    return int(rectangle[2])


def draw_text(canvas: np.ndarray, text: str, corner: tuple[int, int], colour: Colour) -> None:
    """Write into the canvas; `corner` is the top left corner of the line, which is `TEXT_SIZE` px high."""
    baseline = (corner[0], corner[1] + round(TEXT_SIZE * 0.8))
    # A font of its own for each text, since pages may be made in several threads.
    cv2.putText(canvas, text, baseline, colour, cv2.FontFace(_FONT), TEXT_SIZE)


def shortened(text: str, width: int) -> str:
    """The text, or as much of it as fits into `width` px with an ellipsis at its end."""
    if text_width(text) <= width:
        return text
    while text and text_width(text + "…") > width:
        text = text[:-1]
    return text + "…"
