"""Several images on one sheet: a caption and a legend under each, a title above all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import cv2
import numpy as np

from pipeline.views.drawing import (
    BLACK,
    TEXT_SIZE,
    WHITE,
    Colour,
    Dash,
    Spot,
    draw_line,
    draw_text,
    is_dark,
    shortened,
    text_width,
)

GAP = 10

_LINE = TEXT_SIZE + 8
_SWATCH = 22
_MOST_LINES = 4
_MIDDLE = (150, 150, 150)


class Key(NamedTuple):
    """What a colour stands for; `mark` is how it is drawn: a filled swatch, a line's dashes, a dot, or an arrow."""

    colour: Colour
    text: str
    mark: Literal["fill", "dot", "arrow"] | Dash = "fill"


class Tile(NamedTuple):
    """(h, w, 3) uint8 RGB, the text under it, and the legend under that; one that is `wide` has a row of its own. A
    page shows the texts of its `spots` under the pointer."""

    image: np.ndarray
    caption: str
    legend: Sequence[Key] = ()
    wide: bool = False
    spots: Sequence[Spot] = ()


def contact_sheet(tiles: Sequence[Tile], columns: int | None = None, title: str = "") -> np.ndarray:
    """The tiles row by row, each at the top left of its cell; (H, W, 3) uint8 RGB.

    Without `columns` there are two, and three where there are more than four tiles.
    """
    columns = min(columns or (3 if len(tiles) > 4 else 2), len(tiles))
    cell = max((tile.image.shape[1] for tile in tiles if not tile.wide), default=0)
    width = max(columns * (cell + GAP) + GAP, *(tile.image.shape[1] + 2 * GAP for tile in tiles))
    rows: list[list[Tile]] = []
    for tile in tiles:
        if not rows or tile.wide or rows[-1][-1].wide or len(rows[-1]) == columns:
            rows.append([])
        rows[-1].append(tile)
    bands = [_title(title, width)] if title else []
    bands.append(_blank(GAP, width))
    bands += [_row(row, width - 2 * GAP if row[0].wide else cell, width) for row in rows]
    return np.concatenate(bands)


def _row(tiles: Sequence[Tile], cell: int, width: int) -> np.ndarray:
    height = max(tile.image.shape[0] for tile in tiles)
    captions = [_lines(tile.caption, cell) for tile in tiles]
    legends = [_legend(tile.legend, cell) if tile.legend else _blank(0, cell) for tile in tiles]
    below = [_LINE * len(lines) + len(legend) for lines, legend in zip(captions, legends, strict=True)]
    band = _blank(height + max(below) + GAP, width)
    for column, (tile, lines, legend) in enumerate(zip(tiles, captions, legends, strict=True)):
        left, bottom = GAP + column * (cell + GAP), tile.image.shape[0]
        band[:bottom, left : left + tile.image.shape[1]] = tile.image
        for line in lines:
            draw_text(band, line, (left, bottom + 6), BLACK)
            bottom += _LINE
        band[bottom : bottom + len(legend), left : left + cell] = legend
    return band


def _title(text: str, width: int) -> np.ndarray:
    band = _blank(_LINE + GAP, width)
    draw_text(band, shortened(text, width - 2 * GAP), (GAP, GAP), BLACK)
    return band


def _lines(text: str, width: int) -> list[str]:
    """The text broken between words into lines of at most `width` px, the last shortened where it is too long."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer) > width and len(lines) < _MOST_LINES:
            lines.append(word)
        else:
            lines[-1] = longer
    return [shortened(line, width) for line in lines]


def _blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 255, dtype=np.uint8)


def _legend(entries: Sequence[Key], width: int) -> np.ndarray:
    """Swatches, each with its text, in as many lines as they need."""
    places, x, line = [], 0, 0
    for key in entries:
        needed = _SWATCH + 6 + text_width(key.text) + 2 * GAP
        if x and x + needed - 2 * GAP > width:
            x, line = 0, line + 1
        places.append((x, GAP + line * _LINE, key))
        x += needed
    band = _blank(GAP + (line + 1) * _LINE + 4, width)
    for x, y, key in places:
        _draw_mark(band, x, y, key)
        draw_text(band, key.text, (x + _SWATCH + 6, y), BLACK)
    return band


def _draw_mark(band: np.ndarray, x: int, y: int, key: Key) -> None:
    right, top, bottom = x + _SWATCH - 1, y + 1, y + TEXT_SIZE - 2
    if key.mark == "fill":
        cv2.rectangle(band, (x, top), (right, bottom), key.colour, cv2.FILLED)
        if key.colour == WHITE:
            cv2.rectangle(band, (x, top), (right, bottom), BLACK)
        return
    # On a grey as of a photo, with the casing that lines have there.
    cv2.rectangle(band, (x, y - 2), (right, y + TEXT_SIZE), _MIDDLE, cv2.FILLED)
    middle, casing = (top + bottom) // 2, WHITE if is_dark(key.colour) else BLACK
    if key.mark == "dot":
        cv2.circle(band, ((x + right) // 2, middle), 5, casing, cv2.FILLED)
        cv2.circle(band, ((x + right) // 2, middle), 4, key.colour, cv2.FILLED)
    elif key.mark == "arrow":
        for colour, thickness in ((casing, 4), (key.colour, 2)):
            cv2.arrowedLine(band, (x + 3, middle), (right - 2, middle), colour, thickness, cv2.LINE_AA, 0, 0.4)
    else:
        cv2.rectangle(band, (x, middle - 2), (right, middle + 2), casing, cv2.FILLED)
        draw_line(band, (x + 1, right - 1), (middle - 1, middle + 1), key.colour, key.mark)
