"""What annotation tools' own files say of an image, whatever the tool, and how it becomes records.

A tool is a function that parses one file into `ToolImage`s. Where an image lies is the same question for all tools: see
`pipeline.datasets.tools.image_finder`.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets.base import Split
from pipeline.datasets.class_names import distinct_names
from pipeline.datasets.faults import Faults
from pipeline.datasets.file_names import printable
from pipeline.datasets.folders import look_below
from pipeline.datasets.records import (
    BoxFormat,
    Change,
    RawData,
    RawRecord,
    below_root,
    check_root,
    is_file,
    one_line,
    to_float,
)
from pipeline.datasets.splitting.pool import REMEDY
from pipeline.datasets.tools.image_finder import ImageFinder
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text

_LARGEST = 1 << 30  # bytes of a JSON or XML file
Numbers = tuple[Any, Any, Any, Any]
PassedOver = tuple[str, str]  # a thing, and which


@dataclass(frozen=True)
class ToolObject:
    """One object: its class, the four numbers of its box as written, and what it was drawn as where not as a box."""

    name: str
    box: Numbers
    drawn_as: str = ""
    iscrowd: bool = False
    index: int = 0  # in its image's annotation


@dataclass(frozen=True)
class ToolImage:
    """One image that a file names: the name as written, its objects, its size in px where the file has it, and what
    was passed over, such as ("shape", "of type point"). Without a name and objects it only counts that."""

    name: str
    where: str
    objects: Sequence[ToolObject]
    size: tuple[float, float] | None = None
    passed_over: Sequence[PassedOver] = ()


@dataclass(frozen=True)
class Tool:
    """One tool's files.

    Attributes:
        section: the reader, and its block in params.yaml.
        title: what the tool is called.
        suffix: of its files.
        boxes: what the four numbers of a box mean.
        parse: a file, below the root -> its images; None where it can be parsed and is of something
            else.
    """

    section: str
    title: str
    suffix: str
    boxes: BoxFormat
    parse: Callable[[Path, ImageFinder, Faults], Iterable[ToolImage] | None]


@dataclass
class _Reading:
    records: list[RawRecord] = field(default_factory=list)
    passed_over: Counter[PassedOver] = field(default_factory=Counter)
    named: set[str] = field(default_factory=set)


def read_tool(
    tool: Tool,
    root: Path,
    splits: Mapping[Split, Sequence[str]],
    classes: Sequence[str] | None,
    faults: Faults | None = None,
) -> RawData:
    """Read a tool's files.

    Args:
        tool: whose.
        root: the data root.
        splits: files below the root, or folders, "train/", "./" for the root: all of the tool's files in and below it.
        classes: names of the classes; None takes all that the objects have, sorted.
        faults: whether to continue after faulty files and objects.

    An image's id is its path below the root without suffix, "_" for "/".

    Raises:
        InputError: a file is missing or cannot be read, a folder holds none, or an image's name fits several.
    """
    root = check_root(root, f"files of {tool.title} and their images")
    faults = faults or Faults()
    finder, reading = ImageFinder(root), _Reading()
    for split, place in ((split, place) for split, places in splits.items() for place in places):
        with faults.going_on():
            for annotation, named in _files(tool, root, place, split, finder, faults):
                for image in named:
                    with faults.going_on():
                        _take(tool, image, annotation, split, finder, reading)
    records = sorted(_without_copies(reading), key=lambda record: (record.image_id, record.split, record.annotation))
    named_in = None if classes is None else f"dataset.{tool.section}.classes"
    if classes is None:
        classes = sorted(distinct_names(name for record in records for name in record.names))
    images = [(record.file, record.split) for record in records]
    remarks = list(_remarks(tool, finder, reading))
    return RawData(root, f"dataset.{tool.section}", tool.boxes, classes, records, named_in, remarks, images)


def _without_copies(reading: _Reading) -> Iterator[RawRecord]:
    """Each image's records once that say the same, as VoTT's export and its files of single assets do."""
    seen: dict[tuple[str, Split], list[RawRecord]] = {}
    for record in reading.records:
        others = seen.setdefault((record.file, record.split), [])
        if any(_say_the_same(record, other) for other in others):
            reading.passed_over["annotation", "repeated in another file"] += 1
            continue
        others.append(record)
        yield record


def _say_the_same(one: RawRecord, other: RawRecord) -> bool:
    return one.names == other.names and np.array_equal(one.written, other.written, equal_nan=True)


def load_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        InputError: it is missing, too large or no JSON.
    """
    _check_size(path)
    try:
        return json.loads(path.read_bytes())
    except RecursionError as error:
        raise InputError(f"{path}: is nested too deeply; replace it") from error
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: not valid JSON ({one_line(error)}); fix or replace the file") from error


def to_coordinate(value: Any) -> float | None:
    """The number that a file's value is or writes, None where it is none or none that a float holds."""
    if isinstance(value, str):
        return to_float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _check_size(path: Path) -> None:
    if path.stat().st_size > _LARGEST:
        raise InputError(f"{path}: is larger than {_LARGEST >> 20} MiB; split it")


def _files(
    tool: Tool, root: Path, place: str, split: Split, finder: ImageFinder, faults: Faults
) -> Iterator[tuple[str, Iterable[ToolImage]]]:
    """Each file of a place, and the images that it names."""
    key = f"dataset.{tool.section}.{split}"
    if not place.endswith("/"):
        name = below_root(place, key)
        if not is_file(root / name):
            raise InputError(f"{root / name}: no such file; set {key} to files or folders that are there, {REMEDY}")
        images = tool.parse(root / name, finder, faults)
        if images is None:
            raise InputError(f"{root / name}: is not a file of {tool.title}; correct {key}")
        yield name, images
        return
    folder = "" if place == "./" else below_root(place.rstrip("/"), key)
    if not os.path.isdir(root / folder):
        raise InputError(f"{root / folder}: no such folder; set {key} to files or folders that are there, {REMEDY}")
    found = False
    for path in map(Path, sorted(look_below(root / folder).files)):
        if path.suffix.lower() != tool.suffix or not is_file(path):
            continue
        name = path.relative_to(root).as_posix()
        images = None
        with faults.going_on():
            images = tool.parse(path, finder, faults)
            found |= images is not None
        if images is not None:
            yield name, images
    if not found and not faults.lines:
        raise InputError(f"{root / folder}: holds no {tool.suffix} file of {tool.title}; correct {key}")


def _take(tool: Tool, image: ToolImage, annotation: str, split: Split, finder: ImageFinder, reading: _Reading) -> None:
    reading.passed_over.update(image.passed_over)
    if not image.name and image.passed_over and not image.objects:
        return
    found = finder.find(image.name, image.where, annotation.rpartition("/")[0])
    reading.named.add(found.path)
    objects = image.objects
    written = np.full((len(objects), 4), np.nan)
    non_numeric: dict[int, str] = {}
    changes = [*found.changes(image.name)]
    for row, own in enumerate(objects):
        for column, (side, value) in enumerate(zip(tool.boxes.names, own.box, strict=True)):
            number = to_coordinate(value)
            if number is not None:
                written[row, column] = number
                continue
            what = "missing" if value is None else f"{str(value)[:40]!r}, not a number"
            non_numeric.setdefault(row, f"{side} of object {own.index} is {what}")
        if own.drawn_as:
            changes.append(Change("no_box", f"a {own.drawn_as}", f"the box around the {own.drawn_as} taken", row=row))
    stem = found.path.rpartition(".")[0] or found.path
    flags = np.zeros(len(objects), np.bool_)
    reading.records.append(
        RawRecord(
            image_id=stem.replace("/", "_"),
            split=split,
            file=found.path,
            annotation=annotation,
            names=[own.name for own in objects],
            written=written,
            difficult=flags,
            iscrowd=np.array([own.iscrowd for own in objects], np.bool_),
            ignore=flags,
            objects=np.array([own.index for own in objects], np.int64),
            size=image.size,
            non_numeric=non_numeric,
            listed_in=annotation,
            changes=changes,
        )
    )


def _remarks(tool: Tool, finder: ImageFinder, reading: _Reading) -> Iterator[str]:
    for (what, which), count in sorted(reading.passed_over.items()):
        yield f"passed over {count_text(count, what)} {one_line(which)}"
    unnamed = sorted(set(finder.files()) - reading.named)
    if unnamed:
        what = count_text(len(unnamed), "image")
        yield f"passed over {what} that no file of {tool.title} names, such as {printable(unnamed[0])}"
