"""Several images on one sheet, a caption under each and a legend of the colours above all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from pipeline.views.drawing import BLACK, TEXT_SIZE, WHITE, Colour, draw_text, shortened, text_width

GAP = 10

_LINE = TEXT_SIZE + 8
_SWATCH = 22


class Tile(NamedTuple):
    """(h, w, 3) uint8 RGB and the line under it."""

    image: np.ndarray
    caption: str


def contact_sheet(tiles: Sequence[Tile], columns: int, legend: Sequence[tuple[Colour, str]] = ()) -> np.ndarray:
    """The tiles row by row, each at the top left of its cell; (H, W, 3) uint8 RGB."""
    columns = min(columns, len(tiles))
    cell = max(tile.image.shape[1] for tile in tiles)
    width = columns * (cell + GAP) + GAP
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    bands = [_legend(legend, width)] if legend else [_blank(GAP, width)]
    for row in rows:
        height = max(tile.image.shape[0] for tile in row)
        band = _blank(height + _LINE + GAP, width)
        for column, tile in enumerate(row):
            left = GAP + column * (cell + GAP)
            band[: tile.image.shape[0], left : left + tile.image.shape[1]] = tile.image
            draw_text(band, shortened(tile.caption, cell), (left, tile.image.shape[0] + 6), BLACK)
        bands.append(band)
    return np.concatenate(bands)


def _blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 255, dtype=np.uint8)


def _legend(entries: Sequence[tuple[Colour, str]], width: int) -> np.ndarray:
    """Swatches, each with its text, in as many lines as they need."""
    places, left, line = [], GAP, 0
    for colour, text in entries:
        needed = _SWATCH + 6 + text_width(text) + 2 * GAP
        if left > GAP and left + needed > width:
            left, line = GAP, line + 1
        places.append((left, GAP + line * _LINE, colour, text))
        left += needed
    band = _blank(GAP + (line + 1) * _LINE + 4, width)
    for x, y, colour, text in places:
        cv2.rectangle(band, (x, y + 1), (x + _SWATCH - 1, y + TEXT_SIZE - 2), colour, cv2.FILLED)
        if colour == WHITE:
            cv2.rectangle(band, (x, y + 1), (x + _SWATCH - 1, y + TEXT_SIZE - 2), BLACK)
        draw_text(band, text, (x + _SWATCH + 6, y), BLACK)
    return band
