"""The photo that is walked through, and its gt boxes.

Without a photo one is drawn: four striped ellipses in the boxes of the photo of zebras that lectures use, so that the
figures are theirs and anyone can make the page again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.datasets.images import read_rgb
from pipeline.datasets.records import to_float
from pipeline.datasets.textures import background
from pipeline.datasets.voc_xml import parse_xml
from pipeline.runtime.errors import InputError
from pipeline.runtime.seeding import numpy_generator

ZEBRAS = ((223, 782, 623, 1074), (597, 695, 1038, 1050), (1088, 699, 1452, 1057), (1544, 771, 1914, 1063))
"""xyxy, px of a photo of 2000 x 1333."""

LEAST_SIDE = 64
"""px, of a photo: of smaller ones the paper's least size of 16 px leaves few proposals or none."""

_HEIGHT, _WIDTH = 1333, 2000
_COARSE = 4  # the background is drawn at a quarter of the size, so that pictures of it stay small
_STRIPES = 9  # of an ellipse
_NO_BOXES = "No boxes were given, so the middle of the photo stands in for an object."
_VOC_TAGS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Photo:
    """(H, W, 3) uint8 RGB `pixels`, (G, 4) float64 `boxes` in its pixels, and in words where both come from."""

    pixels: npt.NDArray[np.uint8]
    boxes: npt.NDArray[np.float64]
    origin: str


def drawn_photo() -> Photo:
    """Four striped ellipses on a texture, 2000 x 1333 px; the same on every machine."""
    draw = numpy_generator(0, "walk", "photo")
    coarse = background(draw, "test", _WIDTH // _COARSE)
    canvas = cv2.resize(coarse, (_WIDTH, _WIDTH), interpolation=cv2.INTER_CUBIC)[:_HEIGHT]
    for box in ZEBRAS:
        _draw_zebra(canvas, box)
    pixels = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    origin = (
        "The photo is generated: striped ellipses in the boxes of the photo of zebras that many lectures use, so that "
        "the figures can be compared with theirs."
    )
    return Photo(pixels, np.array(ZEBRAS, np.float64), origin)


def _draw_zebra(canvas: np.ndarray, box: Sequence[int]) -> None:
    x1, y1, x2, y2 = box
    y, x = np.mgrid[y1:y2, x1:x2].astype(np.float32) + np.float32(0.5)
    across, down = (x - (x1 + x2) / 2) / ((x2 - x1) / 2), (y - (y1 + y2) / 2) / ((y2 - y1) / 2)
    bent = across + 0.15 * down**2
    stripes = np.where(np.sin(bent * np.pi * _STRIPES) > 0, 235.0, 35.0)[..., None]
    edge = np.clip((1 - across**2 - down**2) * 40, 0, 1)[..., None]
    canvas[y1:y2, x1:x2] += (stripes - canvas[y1:y2, x1:x2]) * edge


def read_photo(path: Path, boxes: Sequence[str]) -> Photo:
    """A photo with the gt boxes that a person gives.

    Args:
        boxes: each "x1,y1,x2,y2" in pixels of the photo, or a VOC annotation, .xml; none: the middle of the photo.

    Raises:
        InputError: the photo or an annotation cannot be read, the photo is smaller than `LEAST_SIDE`, or a box has no
            area within the photo.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file; name a photo, or leave it out to have one drawn")
    pixels = read_rgb(path)
    height, width = pixels.shape[:2]
    if min(height, width) < LEAST_SIDE:
        raise InputError(
            f"{path}: has {width} x {height} px; give a photo of at least {LEAST_SIDE} px a side, as proposals of less "
            "than 16 px of it are dropped"
        )
    if not boxes:
        middle = np.array([[width / 4, height / 4, width * 3 / 4, height * 3 / 4]])
        return Photo(pixels, middle, f"The photo is `{path.name}`. {_NO_BOXES}")
    rows = [row for text in boxes for row in _rows_of(text)]
    return Photo(
        pixels, _checked(np.array(rows), width, height), f"The photo is `{path.name}`. Photo and boxes are yours."
    )


def _rows_of(text: str) -> list[list[float]]:
    if text.lower().endswith(".xml"):
        return _voc_rows(Path(text))
    numbers = [to_float(part) for part in text.replace(" ", ",").split(",") if part]
    if len(numbers) != 4 or not all(number is not None and np.isfinite(number) for number in numbers):
        raise InputError(f"--boxes {text}: is not a box; write x1,y1,x2,y2 in pixels, or give a VOC annotation (.xml)")
    return [[float(number) for number in numbers if number is not None]]


def _voc_rows(path: Path) -> list[list[float]]:
    rows = []
    for number, item in enumerate(parse_xml(path).root.iter("object"), start=1):
        corners = [to_float(item.findtext(f"bndbox/{tag}") or "") for tag in _VOC_TAGS]
        if any(corner is None or not np.isfinite(corner) for corner in corners):
            raise InputError(f"{path}: object {number} has no <bndbox> of four numbers; fix or remove it")
        x1, y1, x2, y2 = (corner for corner in corners if corner is not None)
        rows.append([x1 - 1, y1 - 1, x2, y2])  # VOC's pixels count from 1, and the last is inside
    if not rows:
        raise InputError(f"{path}: has no <object>; give another annotation, or --boxes x1,y1,x2,y2")
    return rows


def _checked(boxes: np.ndarray, width: int, height: int) -> npt.NDArray[np.float64]:
    for box in boxes:
        x1, y1, x2, y2 = box.tolist()
        text = ",".join(f"{value:g}" for value in box)
        if min(x2, width) <= max(x1, 0) or min(y2, height) <= max(y1, 0):
            raise InputError(
                f"--boxes {text}: has no area in the photo of {width} x {height} px; write x1,y1,x2,y2 with x1 < x2 "
                "and y1 < y2, in its own pixels"
            )
        if min(x1, y1) < -1 or x2 > width + 1 or y2 > height + 1:
            raise InputError(f"--boxes {text}: sticks out of the photo of {width} x {height} px; give its own pixels")
    return np.clip(boxes, 0, [width, height, width, height])
