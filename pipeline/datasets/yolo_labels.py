"""The objects of a YOLO label file.

A line is a class index and four shares of the image's sides, which make a box; or, of a segmentation or an oriented
box, two for each corner of a polygon. Where the file of names declares keypoints (`kpt_shape`), they follow the box. A
sixth number from 0 to 1 is a score, as of a detection.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.datasets.faults import Faults
from pipeline.datasets.records import CENTRE, Boxes, Change, to_float, to_floats
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text

_LEAST_CORNERS = 3
_TRACKED = 7  # fields of a triangle, and of a tracker's class, box, score and number of a track
_SLACK = 1e-3  # of shares that are rounded
_NONE = np.zeros((0, 4))


@dataclass
class Labels:
    """The G objects of a file.

    Attributes:
        indices: (G,) class indices as written.
        written: (G, 4) float64 centre, width and height in shares of the sides.
        lines: (G,) lines of the file, from 0.
        non_numeric: row -> what stands in the place of a number.
        changes: what was read otherwise than it is written.
    """

    indices: list[str] = field(default_factory=list)
    written: Boxes = field(default_factory=lambda: _NONE)
    lines: list[int] = field(default_factory=list)
    non_numeric: dict[int, str] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)


def parse_labels(text: str, path: Path, keypoints: int, faults: Faults) -> Labels:
    """The objects in the text of a label file.

    Args:
        text: of the file.
        path: of the file, for faults.
        keypoints: how many numbers of keypoints follow a box; 0 where none do.
        faults: whether to continue after lines of another number of fields.

    Raises:
        InputError: such a line.
    """
    labels = Labels()
    indices, lines, numbers = labels.indices, labels.lines, list[str]()
    polygons: dict[int, Sequence[str]] = {}
    scored = 0
    for index, line in enumerate(text.split("\n")):
        fields = line.split()
        count = len(fields)
        if count == 5:
            numbers += fields[1:]
        elif count == 0:
            continue
        elif keypoints and count == 5 + keypoints:
            numbers += fields[1:5]
        elif not keypoints and count == _TRACKED and _is_track(fields):
            with faults.going_on():
                raise InputError(
                    f"{path}: line {index + 1} has 7 fields, which may be a box, a score and a track's number, or a "
                    "triangle; delete what follows a box, or write a triangle's first corner once more at its end"
                )
            continue
        elif not keypoints and count >= 1 + 2 * _LEAST_CORNERS and count % 2:
            polygons[len(lines)] = fields[1:]
            numbers += ["nan"] * 4
        elif count == 6 and _is_score(fields[5]):
            numbers += fields[1:5]
            scored += 1
        else:
            with faults.going_on():
                raise InputError(f"{path}: line {index + 1} has {count} fields, {_expected(keypoints)}; correct it")
            continue
        indices.append(fields[0])
        lines.append(index)
    written, wrong = to_floats(numbers)
    labels.written = written.reshape(-1, 4)
    for place in reversed(wrong):
        what = f"{CENTRE.names[place % 4]} of line {labels.lines[place // 4] + 1}"
        labels.non_numeric[place // 4] = f"{what} is {numbers[place][:40]!r}, not a number"
    if polygons:
        labels.changes += _take_polygons(labels, polygons)
    if scored:
        detail = f"{scored} of {count_text(len(labels.lines), 'line')} have a sixth number, as detections have a score"
        labels.changes.append(Change("scores", detail, "kept", "give labels that people made, or delete their scores"))
    return labels


def _take_polygons(labels: Labels, polygons: dict[int, Sequence[str]]) -> Iterator[Change]:
    """Put the boxes around the polygons, row -> texts of their numbers, in their rows."""
    for row, texts in polygons.items():
        corners, wrong = to_floats(texts)
        if wrong:
            what = f"a corner of line {labels.lines[row] + 1} is {texts[wrong[0]][:40]!r}, not a number"
            labels.non_numeric[row] = what
            continue
        points = corners.reshape(-1, 2)
        low, high = points.min(axis=0), points.max(axis=0)
        with np.errstate(invalid="ignore", over="ignore"):
            labels.written[row] = np.concatenate([(low + high) / 2, high - low])
        detail = f"{len(points)} corners of a polygon, and no box"
        yield Change("no_box", detail, "the box around its polygon taken", row=row)


def _is_track(fields: Sequence[str]) -> bool:
    """Whether fields of a triangle may as well be a box within the image, a score and the number of a track."""
    numbers, wrong = to_floats(fields[1:])
    if wrong or not np.isfinite(numbers).all():
        return False
    centre, sides, last = numbers[:2], numbers[2:4], float(numbers[5])
    within = (sides > 0) & (centre - sides / 2 >= -_SLACK) & (centre + sides / 2 <= 1 + _SLACK)
    return bool(within.all()) and last.is_integer() and _is_score(fields[5])


def _is_score(text: str) -> bool:
    number = to_float(text)
    return number is not None and 0 <= number <= 1


def _expected(keypoints: int) -> str:
    if keypoints:
        return f"a box has 5 (class x y width height), and with keypoints {5 + keypoints}, as kpt_shape says"
    return "a box has 5 (class x y width height), a polygon 1 and 2 for each of 3 or more corners"
