"""COCO's instances JSON as it is parsed.

Each annotation becomes a row of numbers while the file is parsed, so that memory holds the file's text and a table, not
a dict an annotation.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.datasets.coco_ids import id_of
from pipeline.datasets.outlines import OutlineError, box_around, mask_size
from pipeline.datasets.records import XYWH, Change, is_file, one_line
from pipeline.datasets.splitting.pool import REMEDY
from pipeline.runtime.errors import InputError

AN_ID = "a whole number or a text"
_EMPTY = [0.0] * 4
_LARGEST = 1 << 30  # bytes of a JSON file; COCO's own largest has 0.45 GB


class Row(int):
    """The row of an annotation in the table, in its place in the JSON."""

    __slots__ = ()


class Image(NamedTuple):
    """An image of the JSON's list, its values as they are written."""

    id: Any
    file_name: Any
    width: Any
    height: Any
    by_url: bool = False  # whether it is named by coco_url alone
    path: str = ""  # below the root
    changes: Sequence[Change] = ()


@dataclass
class Table:
    """The annotations of a file, as they are parsed."""

    images: list[Any] = field(default_factory=list)  # ids, one object for equal ones
    categories: list[Any] = field(default_factory=list)
    boxes: array[float] = field(default_factory=lambda: array("d"))
    crowd: bytearray = field(default_factory=bytearray)
    non_numeric: dict[int, str] = field(default_factory=dict)
    outlined: dict[int, tuple[int, int] | None] = field(default_factory=dict)  # rows whose box is around the outline
    scores: int = 0  # annotations with a score, as detections have
    faults: dict[int, str] = field(default_factory=dict)
    _known: dict[Any, Any] = field(default_factory=dict)

    def take(self, item: dict[str, Any]) -> Any:
        """An object of the JSON: images and annotations shrink, others pass."""
        is_image = "file_name" in item or "coco_url" in item
        # Some tools give an image the category of its only object, and an annotation its image's name.
        if is_image and "image_id" not in item and "bbox" not in item:
            return self._image(item)
        if "bbox" in item or "category_id" in item or ("segmentation" in item and "image_id" in item):
            return self._take_annotation(item)
        return self._image(item) if is_image else item

    def _image(self, item: dict[str, Any]) -> Image:
        size = item.get("width"), item.get("height")
        name, url = item.get("file_name"), item.get("coco_url")
        if name is None and isinstance(url, str):  # LVIS's own tools take the last folder and the name
            return Image(item.get("id"), "/".join(url.split("/")[-2:]), *size, True)
        return Image(item.get("id"), name, *size)

    def _take_annotation(self, item: dict[str, Any]) -> Row:
        row = len(self.images)
        box = item.get("bbox")
        outline = item.get("segmentation")
        if outline and (not box or box != box or box == _EMPTY):
            box = self._around(row, outline)
        elif not isinstance(box, list) or len(box) != 4:
            self.faults.setdefault(row, fault_text(item, "bbox", "a list of 4 numbers"))
            box = _EMPTY
        for name, value in zip(XYWH.names, box, strict=True):
            if not is_number(value):
                self.non_numeric.setdefault(row, f"{name} of the bbox is {str(value)[:40]!r}, not a number")
                self.boxes.append(float("nan"))
            else:
                self.boxes.append(to_double(value))
        score = item.get("score")
        self.scores += is_number(score) and score != 1
        crowd = item.get("iscrowd")
        if crowd is None or crowd != crowd:  # null, NaN and no word of it are 0, as pandas and most tools write it
            crowd = 0
        if crowd not in (0, 1, "0", "1"):
            self.faults.setdefault(row, fault_text(item, "iscrowd", "0 or 1"))
        self.crowd.append(crowd in (1, "1"))
        for column, key in ((self.images, "image_id"), (self.categories, "category_id")):
            value = id_of(item.get(key))
            if value is None:
                self.faults.setdefault(row, fault_text(item, key, AN_ID))
            column.append(self._known.setdefault(value, value))
        return Row(row)

    def _around(self, row: int, outline: Any) -> Sequence[float]:
        try:
            self.outlined[row] = mask_size(outline)
            return box_around(outline)
        except OutlineError as error:
            self.faults.setdefault(row, f" has no bbox, and none can be made of its segmentation: {error}")
            return _EMPTY


def parse_instances(path: Path, table: Table) -> dict[str, Any]:
    """The JSON's object, with a `Row` in place of each annotation and an `Image` in place of each image.

    Args:
        path: the file, in UTF-8, UTF-16 or UTF-32.
        table: takes the annotations.

    Raises:
        InputError: the file is missing, too large, no JSON, or no object.
    """
    if not is_file(path):
        raise InputError(f"{path}: no such annotation file; correct dataset.coco, {REMEDY}")
    if path.stat().st_size > _LARGEST:
        raise InputError(f"{path}: is larger than {_LARGEST >> 20} MiB; split it, or leave out the segmentations")
    try:
        with path.open("rb") as file:
            encoding = json.detect_encoding(file.read(4))
        with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding) as file:
            content = json.load(file, object_hook=table.take)
    except RecursionError as error:
        raise InputError(f"{path}: is nested too deeply to be an instances file; replace it") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); make it readable") from error
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({one_line(error)}); fix or replace the file") from error
    if isinstance(content, list) and content and isinstance(content[0], Row):
        what = "detections" if table.scores else "annotations"
        raise InputError(f"{path}: is a list of {what}, without images and categories; give an instances file of COCO")
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no JSON object; give an instances file as COCO writes it")
    return content


def fault_text(item: Mapping[str, Any], key: str, expected: str) -> str:
    """What is wrong with a value, to follow the name of its object."""
    value = item.get(key)
    return f".{key} is {'missing' if value is None else repr(value)[:40]}, expected {expected}"


def is_number(value: Any) -> bool:
    """Whether a value of the JSON is a number, NaN and infinity included."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def to_double(value: float) -> float:
    """The float64 nearest to a number of any size."""
    try:
        return float(value)
    except OverflowError:  # a whole number beyond what a float holds
        return float("inf")
