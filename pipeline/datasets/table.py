"""CSV or Parquet tables with one row per object, for everything that has no reader of its own.

Columns: file (the image's path below the data root), split, class, and the box, either x1, y1, x2, y2 or x, y, width,
height, continuous px from the image's top left corner. Optional: difficult, iscrowd and ignore (0, 1, false, true, or
nothing), image_width and image_height in px. A row with neither class nor box is an image without objects. Other tools'
names of these columns are taken for them (`pipeline.datasets.table_roles`).
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.datasets.base import SPLITS, Split
from pipeline.datasets.class_names import distinct_names
from pipeline.datasets.faults import Faults
from pipeline.datasets.records import XYWH, XYXY, RawData, RawRecord, below_root, check_root, one_line
from pipeline.datasets.splitting.pool import WHOLE
from pipeline.datasets.table_form import is_table_name
from pipeline.datasets.table_rows import Rows, load_rows
from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text


def read_table(
    root: Path,
    splits: Mapping[Split, Sequence[str]],
    file: str,
    boxes: str,
    classes: Sequence[str] | None,
    faults: Faults | None = None,
    replaced: Collection[str] = (),
) -> RawData:
    """Read tables of objects.

    Args:
        root: the data root.
        splits: the values of column split that each split takes; rows of other values are not read. An entry that is
            the path of a table below the root, as train/boxes.csv, or a folder of Parquet parts, as train/, takes all
            rows of that; "./" alone for train takes all rows of `file`. Splits that `dataset.split` fills are not among
            the keys.
        file: the table whose column split is meant: .csv, .parquet or a folder of Parquet parts, below the root.
        boxes: xyxy or xywh, where the columns could be either.
        classes: names of the classes; None takes all of the rows that are read, sorted.
        faults: whether to continue after faulty splits, paths and cells.
        replaced: values of the table's own splits in whose place `dataset.split` makes others. That their rows are not
            read is reported by the division.

    An image's id is its path without suffix, "_" for "/". A path that is not there below the root may be there beside
    the table, or in a folder `images` of either.

    Raises:
        InputError: a table is missing or malformed, or lacks a column or a split.
    """
    root = check_root(root, "a table and its images")
    form = XYXY if boxes == "xyxy" else XYWH
    faults = faults or Faults()
    tables: list[tuple[Rows, Mapping[str, Split]]] = []
    values = [(value, split) for split, values in splits.items() for value in values]
    for value, split in values:
        if is_table_name(value):
            key = f"dataset.table.{split}"
            name = below_root(value.removesuffix("/"), key)
            tables.append((load_rows(root, name, form, split, faults, key), {split: split}))
    if not tables or not all(is_table_name(value) for value, _ in values):
        whole = WHOLE if splits["train"] == [WHOLE] else None
        rows = load_rows(root, below_root(file, "dataset.table.file"), form, whole, faults)
        taken: dict[str, Split] = {}
        for value, split in values:
            with faults.going_on():
                if value not in rows.splits and not is_table_name(value):
                    there = one_line(", ".join(sorted(rows.splits)[:8]))
                    raise InputError(
                        f"{root / rows.table}: has no row of split {value[:60]!r}; set dataset.table to splits it has "
                        f"({there})"
                    )
                taken[value] = split
        tables.append((rows, {value: taken[value] for value in rows.splits if value in taken}))
    form = tables[0][0].form
    for rows, _ in tables:
        if rows.form is not form:
            raise InputError(
                f"{root / rows.table}: has boxes as {', '.join(rows.form.names)}, and {tables[0][0].table} as "
                f"{', '.join(form.names)}; write both alike"
            )
    named_in = None if classes is None else "dataset.table.classes"
    if classes is None:
        classes = sorted(distinct_names(name for own in tables for name in _names(*own)))
    records = heapq.merge(*(_records(*own) for own in tables), key=lambda record: record.image_id)
    images = (image for own in tables for image in _images(*own))
    is_divided = len(splits) < len(SPLITS)
    is_whole = is_divided or sum(map(bool, splits.values())) > 1  # else one split alone is asked for
    remarks = [line for own in tables for line in _not_taken(*own, replaced)] if is_whole else []
    changes = [(rows.table, change) for rows, _ in tables for change in rows.said]
    return RawData(root, "dataset.table", form, classes, records, named_in, remarks, images, changes)


def _not_taken(rows: Rows, taken: Mapping[str, Split], replaced: Collection[str]) -> Iterator[str]:
    """A line on rows whose value of column split belongs to no split."""
    counts = np.bincount(rows.split, minlength=len(rows.splits)).tolist()
    known = {*taken, *replaced}
    others = {value: count for value, count in zip(rows.splits, counts, strict=True) if count and value not in known}
    if others:
        values = " and ".join(f"{count_text(others[value], 'row')} of {value[:40]!r}" for value in [*others][:4])
        yield (
            f"{rows.table}: {values} of column split are not read; to read them add the value to dataset.table.train, "
            "val or test"
        )


def _names(rows: Rows, taken: Mapping[str, Split]) -> Iterator[str]:
    read = np.isin(rows.split, [rows.splits.index(value) for value in taken]) & ~rows.blank & ~rows.flags["ignore"]
    for code in np.unique(rows.name[read]):
        yield rows.names[code]


def _images(rows: Rows, taken: Mapping[str, Split]) -> Iterator[tuple[str, Split]]:
    for code in np.unique(rows.file.astype(np.int64) * len(rows.splits) + rows.split).tolist():
        file, split = rows.files[code // len(rows.splits)], taken.get(rows.splits[code % len(rows.splits)])
        if split is not None and file:
            yield file, split


def _by_image(rows: Rows) -> tuple[npt.NDArray[np.int64], list[int]]:
    """The rows by ascending image_id and split, and where those of each image and split begin, the end included."""
    ids = [_image_id(name) for name in rows.files]
    ranks = np.empty(len(ids), np.int64)
    ranks[sorted(range(len(ids)), key=lambda code: (ids[code], rows.files[code]))] = np.arange(len(ids))
    order = np.lexsort((rows.split, ranks[rows.file]))
    file, split = rows.file[order], rows.split[order]
    starts = np.flatnonzero((file[1:] != file[:-1]) | (split[1:] != split[:-1])) + 1
    return order, [0, *starts.tolist(), len(order)]


def _records(rows: Rows, taken: Mapping[str, Split]) -> Iterator[RawRecord]:
    order, starts = _by_image(rows)
    for start, end in itertools.pairwise(starts):
        own = order[start:end]
        split, code = taken.get(rows.splits[rows.split[own[0]]]), int(rows.file[own[0]])
        if split is None or not rows.files[code]:
            continue
        name, sides = rows.files[code], None if rows.sides is None else rows.sides[own[0]]
        own = own[~rows.blank[own]]
        yield RawRecord(
            image_id=_image_id(name),
            split=split,
            file=name,
            annotation=rows.table,
            names=[rows.names[code] for code in rows.name[own]],
            written=rows.written[own],
            difficult=rows.flags["difficult"][own],
            iscrowd=rows.flags["iscrowd"][own],
            ignore=rows.flags["ignore"][own],
            objects=own,
            size=None if sides is None or np.isnan(sides).all() else (float(sides[0]), float(sides[1])),
            non_numeric={i: rows.non_numeric[row] for i, row in enumerate(own.tolist()) if row in rows.non_numeric},
            listed_in=rows.table,
            changes=rows.changes.get(code, ()),
        )


def _image_id(file: str) -> str:
    return (file.rpartition(".")[0] or file).replace("/", "_")
