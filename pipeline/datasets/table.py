"""One CSV or Parquet table with a row an object, for everything that has no reader of its own.

Columns: file (the image's path below the data root), split, class, and the box, either x1, y1, x2, y2 or x, y, width,
height, continuous px from the image's top left corner. Optional: difficult, iscrowd and ignore (0, 1, false, true, or
nothing), image_width and image_height in px. A row with neither class nor box is an image without objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from pipeline.datasets.base import Split
from pipeline.datasets.records import (
    XYWH,
    XYXY,
    BoxFormat,
    RawData,
    RawRecord,
    below_root,
    check_root,
    one_line,
    to_floats,
)
from pipeline.errors import InputError

_FLAGS = ("difficult", "iscrowd", "ignore")
_SIDES = ("image_width", "image_height")
_TRUTH = {"": False, "0": False, "false": False, "1": True, "true": True}


@dataclass(frozen=True)
class _Rows:
    """The table's columns, in its own order; words and flags by code."""

    file: npt.NDArray[np.int64]
    files: list[str]
    split: npt.NDArray[np.int64]
    splits: list[str]
    name: npt.NDArray[np.int64]
    names: list[str]
    written: npt.NDArray[np.float64]
    blank: npt.NDArray[np.bool_]  # (N,) rows without class and box
    non_numeric: dict[int, str]
    flags: dict[str, npt.NDArray[np.bool_]]
    sides: npt.NDArray[np.float64] | None


def read_table(
    root: Path, splits: Mapping[Split, Sequence[str]], file: str, boxes: str, classes: Sequence[str] | None
) -> RawData:
    """Read a table of objects.

    Args:
        root: the data root.
        splits: the values of column split that each split takes; rows of other values are not read.
        file: the table, .csv or .parquet, below the root.
        boxes: xyxy or xywh.
        classes: names of the classes; None takes all of the rows that are read, sorted.

    An image's id is its path without suffix, "_" for "/".

    Raises:
        InputError: the table is missing or malformed, or lacks a column or a split.
    """
    root = check_root(root, "a table and its images")
    file = below_root(file, "dataset.table.file")
    form = XYXY if boxes == "xyxy" else XYWH
    rows = _load(root / file, form)
    taken = {value: split for split, values in splits.items() for value in values}
    for value in taken:
        if value not in rows.splits:
            there = one_line(", ".join(sorted(rows.splits)[:8]))
            raise InputError(
                f"{root / file}: has no row of split {value[:60]!r}; set dataset.table to splits it has ({there})"
            )
    if classes is None:
        read = np.isin(rows.split, [rows.splits.index(value) for value in taken]) & ~rows.blank
        read &= ~rows.flags["ignore"]
        classes = sorted(rows.names[code] for code in np.unique(rows.name[read]))
    return RawData(root, "dataset.table", form, classes, _records(file, rows, taken))


def _records(file: str, rows: _Rows, taken: Mapping[str, Split]) -> Iterator[RawRecord]:
    ids = [_image_id(name) for name in rows.files]
    ranks = np.empty(len(ids), np.int64)
    ranks[sorted(range(len(ids)), key=lambda code: (ids[code], rows.files[code]))] = np.arange(len(ids))
    order = np.lexsort((rows.split, ranks[rows.file]))
    keys = np.stack([rows.file[order], rows.split[order]])
    starts = np.flatnonzero(np.concatenate([[True], (keys[:, 1:] != keys[:, :-1]).any(axis=0)]))
    for own in np.split(order, starts[1:]):
        split = taken.get(rows.splits[rows.split[own[0]]])
        if split is None:
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


def _load(path: Path, form: BoxFormat) -> _Rows:
    table = _open(path)
    known = ("file", "split", "class", *form.names, *_FLAGS, *_SIDES)
    for name in table.column_names:
        if table.column_names.count(name) > 1:
            raise InputError(f"{path}: has two columns {name!r}; rename one")
    for name in known[:7]:
        if name not in table.column_names:
            raise InputError(f"{path}: has no column {name!r}; it needs {', '.join(known[:7])}")
    if table.num_rows == 0:
        raise InputError(f"{path}: has no row; write one an object")
    file, files = _words(table, "file", path)
    files = [below_root(name, f"{path}: column file") for name in files]
    split, splits = _words(table, "split", path)
    name, names = _words(table, "class", path)
    columns, bare = [], np.array([word == "" for word in names])[name]
    non_numeric: dict[int, str] = {}
    for column in form.names:
        numbers, empty, wrong = _numbers(table, column, path)
        columns.append(numbers)
        bare &= empty
        for row, word in wrong.items():
            non_numeric.setdefault(row, f"{column} of row {row + 1} is {word[:40]!r}, not a number")
    return _Rows(
        file,
        files,
        split,
        splits,
        name,
        names,
        np.stack(columns, axis=1),
        bare,
        {row: detail for row, detail in non_numeric.items() if not bare[row]},
        {flag: _flag(table, flag, path) for flag in _FLAGS},
        _sizes(table, path),
    )


def _open(path: Path) -> pa.Table:
    if not path.is_file():
        raise InputError(f"{path}: no such table; set dataset.table.file to one below the data root")
    try:
        if path.suffix == ".parquet":
            return pq.read_table(path)
        with pacsv.open_csv(path) as reader:
            names = reader.schema.names
        texts = pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
        return pacsv.read_csv(path, convert_options=texts)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{path}: not a readable {path.suffix[1:] or 'CSV'} table ({one_line(error)}); mend it"
        ) from error


def _texts(table: pa.Table, name: str, path: Path) -> pa.Array:
    try:
        return pc.fill_null(pc.cast(table.column(name), pa.string()), "").combine_chunks()
    except pa.ArrowException as error:
        raise InputError(f"{path}: column {name!r} holds {table.column(name).type}, no text or number") from error


def _words(table: pa.Table, name: str, path: Path) -> tuple[npt.NDArray[np.int64], list[str]]:
    encoded = _texts(table, name, path).dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary.to_pylist()


def _numbers(
    table: pa.Table, name: str, path: Path
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], dict[int, str]]:
    """A column's numbers, which rows are empty, and the words that stand elsewhere in place of numbers."""
    column = table.column(name)
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        empty = column.is_null().to_numpy().astype(np.bool_)
        numbers = pc.cast(column, pa.float64(), safe=False).to_numpy().astype(np.float64)
        return numbers, empty, dict.fromkeys(np.flatnonzero(empty).tolist(), "")
    texts = [text.strip() for text in _texts(table, name, path).to_pylist()]
    numbers, wrong = to_floats(texts)
    return numbers, np.array([text == "" for text in texts]), {row: texts[row] for row in wrong}


def _flag(table: pa.Table, name: str, path: Path) -> npt.NDArray[np.bool_]:
    if name not in table.column_names:
        return np.zeros(table.num_rows, np.bool_)
    codes, words = _words(table, name, path)
    for word in words:
        if word.lower() not in _TRUTH:
            raise InputError(f"{path}: column {name!r} holds {word[:40]!r}; write 0, 1, false or true")
    return np.array([_TRUTH[word.lower()] for word in words], np.bool_)[codes]


def _sizes(table: pa.Table, path: Path) -> npt.NDArray[np.float64] | None:
    """(N, 2) sizes as the rows tell them, NaN where they tell none; None without such columns."""
    if not set(_SIDES) <= set(table.column_names):
        return None
    columns = []
    for name in _SIDES:
        numbers, _, wrong = _numbers(table, name, path)
        for row, word in wrong.items():
            if word:
                raise InputError(f"{path}: {name} of row {row + 1} is {word[:40]!r}, not a number; correct it")
        columns.append(numbers)
    return np.stack(columns, axis=1)
