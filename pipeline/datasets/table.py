"""One CSV or Parquet table with a row an object, for everything that has no reader of its own.

Columns: file (the image's path below the data root), split, class, and the box, either x1, y1, x2, y2 or x, y, width,
height, continuous px from the image's top left corner. Optional: difficult, iscrowd and ignore (0, 1, false, true, or
nothing), image_width and image_height in px. A row with neither class nor box is an image without objects.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.datasets.base import Split
from pipeline.datasets.class_names import clean_name, distinct_names
from pipeline.datasets.faults import Faults
from pipeline.datasets.records import (
    XYWH,
    XYXY,
    BoxFormat,
    RawData,
    RawRecord,
    below_root,
    check_root,
    one_line,
)
from pipeline.datasets.splitting.pool import REMEDY, WHOLE
from pipeline.datasets.table_columns import Numbers, Words, column_names, read_blocks
from pipeline.runtime.errors import InputError

_FLAGS = ("difficult", "iscrowd", "ignore")
_SIDES = ("image_width", "image_height")
_TRUTH = {"": False, "0": False, "false": False, "1": True, "true": True}


@dataclass(frozen=True)
class _Rows:
    """The table's columns, in its own order; words and flags by code."""

    file: npt.NDArray[np.int32]
    files: list[str]  # "" for a path at fault
    split: npt.NDArray[np.int32]
    splits: list[str]
    name: npt.NDArray[np.int32]
    names: list[str]
    written: npt.NDArray[np.float64]
    blank: npt.NDArray[np.bool_]  # (N,) rows without class and box
    non_numeric: dict[int, str]
    flags: dict[str, npt.NDArray[np.bool_]]
    sides: npt.NDArray[np.float64] | None


def read_table(
    root: Path,
    splits: Mapping[Split, Sequence[str]],
    file: str,
    boxes: str,
    classes: Sequence[str] | None,
    faults: Faults | None = None,
) -> RawData:
    """Read a table of objects.

    Args:
        root: the data root.
        splits: the values of column split that each split takes; rows of other values are not read. "./" alone
            for train takes all rows of a table without that column.
        file: the table, .csv or .parquet, below the root.
        boxes: xyxy or xywh.
        classes: names of the classes; None takes all of the rows that are read, sorted.
        faults: whether to continue after faulty splits, paths and cells.

    An image's id is its path without suffix, "_" for "/".

    Raises:
        InputError: the table is missing or malformed, or lacks a column or a split.
    """
    root = check_root(root, "a table and its images")
    file = below_root(file, "dataset.table.file")
    form = XYXY if boxes == "xyxy" else XYWH
    faults = faults or Faults()
    rows = _load(root / file, form, faults, splits["train"] == [WHOLE])
    taken: dict[str, Split] = {}
    for value, split in ((value, split) for split, values in splits.items() for value in values):
        with faults.going_on():
            if value not in rows.splits:
                there = one_line(", ".join(sorted(rows.splits)[:8]))
                raise InputError(
                    f"{root / file}: has no row of split {value[:60]!r}; set dataset.table to splits it has ({there})"
                )
            taken[value] = split
    named_in = None if classes is None else "dataset.table.classes"
    if classes is None:
        read = np.isin(rows.split, [rows.splits.index(value) for value in taken]) & ~rows.blank
        read &= ~rows.flags["ignore"]
        classes = sorted(distinct_names(rows.names[code] for code in np.unique(rows.name[read])))
    return RawData(
        root, "dataset.table", form, classes, _records(file, rows, taken), named_in, images=_images(rows, taken)
    )


def _images(rows: _Rows, taken: Mapping[str, Split]) -> Iterator[tuple[str, Split]]:
    for code in np.unique(rows.file.astype(np.int64) * len(rows.splits) + rows.split).tolist():
        file, split = rows.files[code // len(rows.splits)], taken.get(rows.splits[code % len(rows.splits)])
        if split is not None and file:
            yield file, split


def _by_image(rows: _Rows) -> tuple[npt.NDArray[np.int64], list[int]]:
    """The rows by ascending image_id and split, and where those of each image and split begin, the end included."""
    ids = [_image_id(name) for name in rows.files]
    ranks = np.empty(len(ids), np.int64)
    ranks[sorted(range(len(ids)), key=lambda code: (ids[code], rows.files[code]))] = np.arange(len(ids))
    order = np.lexsort((rows.split, ranks[rows.file]))
    file, split = rows.file[order], rows.split[order]
    starts = np.flatnonzero((file[1:] != file[:-1]) | (split[1:] != split[:-1])) + 1
    return order, [0, *starts.tolist(), len(order)]


def _records(file: str, rows: _Rows, taken: Mapping[str, Split]) -> Iterator[RawRecord]:
    order, starts = _by_image(rows)
    for start, end in itertools.pairwise(starts):
        own = order[start:end]
        split = taken.get(rows.splits[rows.split[own[0]]])
        if split is None or not rows.files[rows.file[own[0]]]:
            continue
        name, sides = rows.files[rows.file[own[0]]], None if rows.sides is None else rows.sides[own[0]]
        own = own[~rows.blank[own]]
        yield RawRecord(
            image_id=_image_id(name),
            split=split,
            file=name,
            annotation=file,
            names=[rows.names[code] for code in rows.name[own]],
            written=rows.written[own],
            difficult=rows.flags["difficult"][own],
            iscrowd=rows.flags["iscrowd"][own],
            ignore=rows.flags["ignore"][own],
            objects=own,
            size=None if sides is None or np.isnan(sides).all() else (float(sides[0]), float(sides[1])),
            non_numeric={i: rows.non_numeric[row] for i, row in enumerate(own.tolist()) if row in rows.non_numeric},
            listed_in=file,
        )


def _image_id(file: str) -> str:
    return (file.rpartition(".")[0] or file).replace("/", "_")


def _load(path: Path, form: BoxFormat, faults: Faults, whole: bool) -> _Rows:
    """The rows; `whole`: the column split is not read, and all rows are of one."""
    there = column_names(path)
    own_split = () if whole else ("split",)
    needed = ("file", *own_split, "class", *form.names)
    for name in there:
        if there.count(name) > 1:
            raise InputError(f"{path}: has two columns {name!r}; rename one")
    for name in needed:
        if name not in there:
            remedy = f", {REMEDY}" if name == "split" else ""
            raise InputError(f"{path}: has no column {name!r}; it needs {', '.join(needed)}{remedy}")
    sides = _SIDES if set(_SIDES) <= set(there) else ()
    words = {name: Words(name, path) for name in ("file", *own_split, "class", *(set(_FLAGS) & set(there)))}
    numbers = {name: Numbers(name, path) for name in (*form.names, *sides)}
    count = 0
    for block in read_blocks(path, [*words, *numbers]):
        count += block.num_rows
        for name in block.schema.names:
            (words.get(name) or numbers[name]).add(block.column(name))
    if count == 0:
        raise InputError(f"{path}: has no row; write one an object")
    names = words["class"].words
    blank = np.array([clean_name(word) == "" for word in names])[words["class"].codes()]
    for name in form.names:
        blank &= numbers[name].empty()
    non_numeric: dict[int, str] = {}
    for name in form.names:
        for row, word in numbers[name].wrong.items():
            if not blank[row]:
                non_numeric.setdefault(row, f"{name} of row {row + 1} is {word[:40]!r}, not a number")
    return _Rows(
        words["file"].codes(),
        [_path_of(name, path, faults) for name in words["file"].words],
        words["split"].codes() if own_split else np.zeros(count, np.int32),
        words["split"].words if own_split else [WHOLE],
        words["class"].codes(),
        names,
        _side_by_side(numbers, form.names, count),
        blank,
        non_numeric,
        {
            name: _flag(words[name], name, path, faults) if name in words else np.zeros(count, np.bool_)
            for name in _FLAGS
        },
        _sizes(numbers, count, path, faults) if sides else None,
    )


def _path_of(name: str, path: Path, faults: Faults) -> str:
    with faults.going_on():
        return below_root(name, f"{path}: column file")
    return ""


def _side_by_side(numbers: dict[str, Numbers], names: Sequence[str], count: int) -> npt.NDArray[np.float64]:
    """(N, len(names)) of columns, which are taken out of `numbers` one by one, so that none is held twice."""
    together = np.empty((count, len(names)))
    for index, name in enumerate(names):
        together[:, index] = numbers.pop(name).numbers()
    return together


def _flag(column: Words, name: str, path: Path, faults: Faults) -> npt.NDArray[np.bool_]:
    for word in column.words:
        if word.lower() not in _TRUTH:
            with faults.going_on():
                raise InputError(f"{path}: column {name!r} holds {word[:40]!r}; write 0, 1, false or true")
    return np.array([_TRUTH.get(word.lower(), False) for word in column.words], np.bool_)[column.codes()]


def _sizes(numbers: dict[str, Numbers], count: int, path: Path, faults: Faults) -> npt.NDArray[np.float64]:
    """(N, 2) sizes as the rows give them, NaN where they give none."""
    for name in _SIDES:
        for row, word in numbers[name].wrong.items():
            if word:
                with faults.going_on():
                    raise InputError(f"{path}: {name} of row {row + 1} is {word[:40]!r}, not a number; correct it")
    return _side_by_side(numbers, _SIDES, count)
