"""The box around an object that is given by its outline, as COCO's segmentations are.

A polygon's box reaches from its least to its greatest coordinates, as COCO's own boxes do. A mask's box covers its
pixels, as that of pycocotools' `toBbox`. Masks are decoded here and not by pycocotools or faster-coco-eval, whose C
code reads and writes outside its arrays where a text of counts is damaged.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

_MOST_PIXELS = 1 << 40  # of a mask; nothing is allocated for them
_LONGEST_COUNT = 12  # characters of 5 bits


class OutlineError(ValueError):
    """What of an outline cannot be read, in a clause."""


def box_around(outline: Any) -> tuple[float, float, float, float]:
    """The box (x, y, width, height) in px around a COCO segmentation.

    Args:
        outline: polygons [[x1, y1, x2, y2, ...], ...], one such list, or one of points [[x1, y1], [x2, y2], ...]; or a
            mask {"size": [height, width], "counts": ...} whose runs of pixels, down each column, are listed or
            compressed to a text.

    Raises:
        OutlineError: it is none of these.
    """
    if isinstance(outline, dict):
        return _around_runs(outline)
    low, high = [np.inf, np.inf], [-np.inf, -np.inf]
    found = False
    for points in _polygons(outline):
        found = True
        low, high = np.minimum(low, points.min(0)).tolist(), np.maximum(high, points.max(0)).tolist()
    if not found:
        raise OutlineError("it has no polygon of three points")
    return low[0], low[1], high[0] - low[0], high[1] - low[1]


def mask_size(outline: Any) -> tuple[int, int] | None:
    """(width, height) in px of the image that a mask is of; None for polygons.

    Raises:
        OutlineError: the mask gives none.
    """
    if not isinstance(outline, dict):
        return None
    size = outline.get("size")
    if not isinstance(size, list) or len(size) != 2 or not all(map(_is_count, size)) or 0 in size:
        raise OutlineError("its mask has no size [height, width]")
    return int(size[1]), int(size[0])


def _polygons(outline: Any) -> Iterator[npt.NDArray[np.float64]]:
    """(P, 2) points of each polygon, P at least 3; shorter ones enclose nothing and are passed over."""
    parts = outline if isinstance(outline, list) else []
    if parts and not isinstance(parts[0], list):
        parts = [parts]
    elif parts and all(isinstance(part, list) and len(part) == 2 for part in parts):
        parts = [[number for point in parts for number in point]]
    for part in parts:
        if isinstance(part, list) and part and all(isinstance(point, list) and len(point) == 2 for point in part):
            part = [number for point in part for number in point]
        if not isinstance(part, list) or not all(map(_is_number, part)):
            raise OutlineError("its polygon holds something other than numbers")
        if len(part) % 2:
            raise OutlineError(f"its polygon has {len(part)} numbers, not two per point")
        if len(part) >= 6:
            yield np.array([_float(number) for number in part]).reshape(-1, 2)


def _around_runs(mask: dict[str, Any]) -> tuple[float, float, float, float]:
    width, height = mask_size(mask) or (0, 0)
    counts = mask.get("counts")
    runs = _decoded(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(map(_is_count, runs)):
        raise OutlineError("its mask has no counts, a list of whole numbers or a text")
    if sum(runs) != width * height or width * height > _MOST_PIXELS:
        raise OutlineError(f"its mask counts {sum(runs)} pixels of {width} x {height}")
    ends = np.cumsum(np.array(runs, np.int64))
    first, last = ends[:-1:2], ends[1::2] - 1  # pixels of each run inside the object
    first, last = first[last >= first], last[last >= first]
    if not len(first):
        return 0.0, 0.0, 0.0, 0.0
    left, right = int(first[0] // height), int(last[-1] // height)
    if (first // height != last // height).any():  # a run that reaches into the next column
        top, bottom = 0, height - 1
    else:
        top, bottom = int((first % height).min()), int((last % height).max())
    return float(left), float(top), float(right + 1 - left), float(bottom + 1 - top)


def _decoded(text: str) -> list[int]:
    """The counts that pycocotools packs into a text: 5 bits a character from "0", the lowest first, in two's
    complement; a sixth bit says that more follow. From the fourth on, counts are less the last but one."""
    counts: list[int] = []
    number = place = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or place >= _LONGEST_COUNT:
            raise OutlineError("the counts of its mask are not text as COCO's tools write it")
        number |= (bits & 31) << 5 * place
        place += 1
        if not bits & 32:
            number -= 1 << 5 * place if bits & 16 else 0
            counts.append(number + (counts[-2] if len(counts) > 2 else 0))
            number = place = 0
    if place:
        raise OutlineError("the counts of its mask end in a number that is cut off")
    return counts


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= _MOST_PIXELS and value == int(value)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf")
