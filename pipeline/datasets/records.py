"""What a reader yields before anything is checked: an image's annotation as its file writes it.

A reader is one module with one function, which parses and judges nothing: it returns a `RawData`, whose records come in
ascending `image_id`. `pipeline.datasets.validation` turns them into a `Dataset`. A file that cannot be parsed at all
raises `InputError`; every other fault is the validation's to find.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.datasets.base import Split
from pipeline.datasets.file_names import is_plain, printable
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text

_LONGEST_PATH = 3000  # bytes below the root; Linux takes 4095 with what stands before it
Boxes = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class BoxFormat:
    """How a format writes a box: four numbers, and what they mean.

    Attributes:
        names: what the format calls the numbers, for findings.
        corners: (G, 4) float64 numbers as written, image width and height in px -> (G, 4) float64 continuous corners
            (x1, y1, x2, y2) in px.
        sides: (G, 4) numbers as written -> (G, 2) float64 width and height as written, below 0 where inverted.
        rounding: how far a box may stick out of the image, in image sides, because the format rounds its numbers.
        swap: (G, 4) numbers as written, of inverted boxes -> the same boxes with their corners in order.
    """

    names: tuple[str, str, str, str]
    corners: Callable[[Boxes, float, float], Boxes]
    sides: Callable[[Boxes], Boxes]
    swap: Callable[[Boxes], Boxes]
    rounding: float = 0.0


def _order(written: Boxes) -> Boxes:
    low, high = np.minimum(written[:, :2], written[:, 2:]), np.maximum(written[:, :2], written[:, 2:])
    return np.concatenate([low, high], axis=1)


def _turn(written: Boxes) -> Boxes:
    """A negative side counts from the box's other edge."""
    low = np.minimum(written[:, :2], written[:, :2] + written[:, 2:])
    return np.concatenate([low, np.abs(written[:, 2:])], axis=1)


def _from_centre(written: Boxes, width: float, height: float) -> Boxes:
    half = written[:, 2:] / 2
    return np.concatenate([written[:, :2] - half, written[:, :2] + half], axis=1) * [width, height, width, height]


def _between(written: Boxes) -> Boxes:
    return written[:, 2:] - written[:, :2]


def _last_two(written: Boxes) -> Boxes:
    return written[:, 2:]


# VOC counts pixels from 1 and includes the last; less 1, its first corner is continuous too.
INCLUSIVE = BoxFormat(
    ("xmin", "ymin", "xmax", "ymax"), lambda written, _w, _h: written - [1.0, 1.0, 0.0, 0.0], _between, _order
)
XYXY = BoxFormat(("x1", "y1", "x2", "y2"), lambda written, _w, _h: written, _between, _order)
# COCO and similar formats write hundredths of a pixel, so that x + width may pass the image's edge by a little.
XYWH = BoxFormat(
    ("x", "y", "width", "height"),
    lambda written, _w, _h: np.concatenate([written[:, :2], written[:, :2] + written[:, 2:]], axis=1),
    _last_two,
    _turn,
    rounding=1e-4,
)
CENTRE = BoxFormat(
    ("x_centre", "y_centre", "width", "height"),
    _from_centre,
    _last_two,
    lambda written: np.concatenate([written[:, :2], np.abs(written[:, 2:])], axis=1),
    rounding=1e-5,
)


def no_flags(count: int) -> Flags:
    """(count,) bool, all False."""
    return np.zeros(count, np.bool_)


class Change(NamedTuple):
    """What a reader read otherwise than it is written, subject to the policy of its kind.

    Attributes:
        kind: of `FindingPolicy`.
        detail: what is written.
        done: how it was read, in the past tense.
        remedy: what to do, for a policy of error.
        row: of `RawRecord.written`; -1 for the whole annotation or image.
        name: of an image, as it is written, where that is what differs.
    """

    kind: str
    detail: str
    done: str
    remedy: str = "correct it"
    row: int = -1
    name: str = ""


def detections(scored: int, count: int, what: str) -> Change:
    """The finding that `scored` of `count` objects have a score; `what` the format calls an object."""
    detail = f"{scored:,} of {count_text(count, what)} have a score, as detections have and ground truth has not"
    return Change("scores", detail, "kept", "give annotations that people made, or delete their scores")


@dataclass(frozen=True, eq=False)
class RawRecord:
    """One image and the G objects of its annotation, unchecked.

    Attributes:
        image_id: the id; records come in its ascending order, and equal ones are two claims on one id.
        split: train, val or test.
        file: the image's path below the data root, with "/".
        annotation: the annotation's path below the data root.
        names: (G,) class names as written.
        written: (G, 4) float64, the numbers as written; NaN where `non_numeric` describes one.
        size: (width, height) in px as the annotation has it, None where it has none.
        difficult, iscrowd, ignore: (G,) bool. An object of `ignore` is an ignore region whatever its name.
        objects: (G,) index of each object in its file.
        non_numeric: row of `written` -> which number it is and what stands in its place.
        untagged: how many objects lack the format's tag for difficult.
        annotated: whether there is an annotation at all.
        absent: the kind of finding where there is none.
        listed_in: where the image is listed, for what to do when it is at fault.
        changes: what was read otherwise than it is written.
    """

    image_id: str
    split: Split
    file: str
    annotation: str
    names: Sequence[str]
    written: Boxes
    difficult: Flags
    iscrowd: Flags
    ignore: Flags
    objects: npt.NDArray[np.int64]
    size: tuple[float, float] | None = None
    non_numeric: Mapping[int, str] = field(default_factory=dict)
    untagged: int = 0
    annotated: bool = True
    absent: str = "image_without_annotation"
    listed_in: str = "the split's list"
    changes: Sequence[Change] = ()


@dataclass(frozen=True)
class RawData:
    """A data set as a reader found it.

    Attributes:
        root: the data root, below which all paths lie.
        section: of params.yaml, such as "dataset.voc".
        boxes: how the format writes boxes.
        classes: names of the classes without the background, in the order of their labels.
        records: one an image, ascending image_id, to be iterated once.
        named_in: where the classes are named by hand, a key of params.yaml or a file; None: they are those that the
            annotations name.
        remarks: lines for a person on what was passed over.
        images: path below the root and split of each image that is listed, to be iterated once, for what is to be known
            of all images before the first is taken.
        changes: what was read of whole files otherwise than it is written: path below the root, and the change.
    """

    root: Path
    section: str
    boxes: BoxFormat
    classes: Sequence[str]
    records: Iterable[RawRecord]
    named_in: str | None = None
    remarks: Sequence[str] = ()
    images: Iterable[tuple[str, Split]] = ()
    changes: Sequence[tuple[str, Change]] = ()


def check_root(root: Path, layout: str) -> Path:
    """The data root as a path.

    Raises:
        InputError: it is missing or empty; `layout` says what it should hold.
    """
    root = Path(root)
    remedy = f"give dataset.root=PATH to frcnn preset, a folder with {layout}"
    if not os.path.isdir(root):
        raise InputError(f"{root}: no such folder; {remedy}")
    if all(name.startswith(".") for name in names_in(root)):
        raise InputError(f"{root}: no data set is linked (the folder is empty); {remedy}")
    return root


def names_in(folder: Path) -> list[str]:
    """Names of what is in a folder, unsorted.

    Raises:
        InputError: it cannot be listed.
    """
    try:
        return os.listdir(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}); make it readable") from error


def is_file(path: Path) -> bool:
    """Whether there is such a file.

    Raises:
        InputError: that cannot be known, because one of its folders may not be searched.
    """
    try:
        return path.is_file()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); make it readable") from error


def below_root(text: Any, where: str) -> str:
    """A relative path with "/" that cannot leave the data root; "./" is taken off.

    Raises:
        InputError: it is not text, is empty or absolute, or climbs up; `where` names the file and place.
    """
    if isinstance(text, str):
        parts = [part for part in text.split("/") if part != "."]
        if all(map(is_plain, parts)) and len(text.encode()) <= _LONGEST_PATH and parts:
            return "/".join(parts)
    raise InputError(
        f"{where}: {str(text)[:60]!r} is not a path below the data root; write it relative to that, with /"
    )


def read_text(path: Path, what: str) -> str:
    """The text of a small file in UTF-8, or in UTF-16 with its mark, as PowerShell writes it.

    Raises:
        InputError: it is missing or no such text; `what` says what to write.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # to open a pipe would wait for its writer
            raise InputError(f"{path}: is not a file but a pipe, socket or device; {what}")
        data = path.read_bytes()
        is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if is_utf16 else "utf-8-sig")
        return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; {what}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({one_line(error)}); {what}") from error


def one_line(error: object) -> str:
    """What a library says, cut to 200 characters of one line."""
    return printable(" ".join(str(error).split())[:200])


def to_float(text: str) -> float | None:
    """The number that a text writes, None where it writes none."""
    try:
        return None if "_" in text else float(text)  # 1_0 is 10 in Python alone
    except ValueError:
        return None


def to_floats(texts: Sequence[str]) -> tuple[Boxes, list[int]]:
    """Numbers of texts, float64 of equal length, and the indices of those that are none, whose number is NaN."""
    numbers = np.full(len(texts), np.nan)
    wrong = []
    for index, text in enumerate(texts):
        number = to_float(text)
        if number is None:
            wrong.append(index)
        else:
            numbers[index] = number
    return numbers, wrong
