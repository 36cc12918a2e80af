"""The rows of a table in arrays: read block by block, whatever its form, and checked but for their boxes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.datasets.class_names import clean_name
from pipeline.datasets.faults import Faults
from pipeline.datasets.file_names import printable
from pipeline.datasets.records import XYWH, BoxFormat, Change, detections
from pipeline.datasets.splitting.pool import REMEDY
from pipeline.datasets.table_columns import Words
from pipeline.datasets.table_form import find_table
from pipeline.datasets.table_numbers import Numbers, settle
from pipeline.datasets.table_roles import FLAGS, SCORE, SIDES, Roles, roles_of
from pipeline.datasets.written_names import Found, WrittenNames, renamed
from pipeline.runtime.errors import InputError

_TRUTH = {
    **dict.fromkeys(("", "0", "0.0", "0,0", "false"), False),
    **dict.fromkeys(("1", "1.0", "1,0", "true"), True),
}
_LEAST_PX = 2  # no table has boxes in the first two px alone
_IMAGES = "images"  # the folder that names of tables most often leave out


@dataclass(frozen=True)
class Rows:
    """A table's columns, in its own order; words and flags by code.

    Attributes:
        table: its path below the data root.
        form: how its boxes are written.
        file: (N,) index into `files`.
        files: paths below the root, each once; "" for one at fault.
        changes: of `files`, what is written otherwise.
        split: (N,) index into `splits`.
        name: (N,) index into `names`.
        written: (N, 4) float64, the numbers as written.
        blank: (N,) rows without class and box.
        non_numeric: row -> which number it is and what stands in its place.
        flags: (N,) bool each.
        sides: (N, 2) float64 width and height in px, NaN where a row gives none; None where no row can.
        said: findings of the whole table.
    """

    table: str
    form: BoxFormat
    file: npt.NDArray[np.int32]
    files: list[str]
    changes: Mapping[int, Sequence[Change]]
    split: npt.NDArray[np.int32]
    splits: list[str]
    name: npt.NDArray[np.int32]
    names: list[str]
    written: npt.NDArray[np.float64]
    blank: npt.NDArray[np.bool_]
    non_numeric: dict[int, str]
    flags: dict[str, npt.NDArray[np.bool_]]
    sides: npt.NDArray[np.float64] | None
    said: Sequence[Change]


def load_rows(
    root: Path,
    table: str,
    wanted: BoxFormat,
    split: str | None,
    faults: Faults,
    key: str = "dataset.table.file",
) -> Rows:
    """Read a table.

    Args:
        root: the data root.
        table: its path below that, a file or a folder of Parquet parts.
        wanted: how its boxes are written, where the names of its columns leave it open.
        split: of all its rows; None: its column split says it.
        faults: whether to continue after faulty paths and cells.
        key: the parameter that names it.

    Raises:
        InputError: it is missing or malformed, lacks a column, or its numbers can be read in two ways.
    """
    path = root / table
    source = find_table(path, key)
    roles = roles_of(source.names, wanted)
    for name in roles.columns.values():
        if source.names.count(name) > 1:
            raise InputError(f"{path}: has two columns {name!r}; rename one")
    form = _checked_form(path, source.names, roles, wanted, split)
    trimmed = source.separator == "," and len(source.names) > 1 and all(n[:1] == " " for n in source.names[1:])
    columns = roles.columns
    words = {
        role: Words(columns[role], path, trimmed)
        for role in ("file", *(() if split is not None else ("split",)), "class", *FLAGS)
        if role in columns
    }
    sides = SIDES if set(SIDES) <= set(columns) else ()
    scores = (SCORE,) if SCORE in columns else ()
    numbers = {role: Numbers(columns[role], path) for role in (*form.names, *sides, *scores)}
    takers: dict[str, Words | Numbers] = {columns[role]: taker for role, taker in words.items()}
    takers.update((columns[role], taker) for role, taker in numbers.items())
    count = 0
    for block in source.read(list(takers)):
        count += block.num_rows
        for name in block.schema.names:
            takers[name].add(block.column(name))
    if count == 0:
        raise InputError(f"{path}: has no row; write one per object")
    said = [*source.said, *settle(numbers.values(), path, source.separator == ";")]
    if roles.open_sides and _are_of_boxes(numbers, form):
        roles, sides = roles.without_sides(), ()
        said.append("width and height as the boxes', and not the images'")
    elif (
        roles.open_sides
        and form is XYWH
        and {*XYWH.names} <= {*source.names}  # beside w and h
        and not _are_of_images(numbers, words["file"].codes())
    ):
        for name, side in zip(XYWH.names[2:], SIDES, strict=True):
            numbers[name], columns[name] = numbers.pop(side), columns[side]
        roles, sides = roles.without_sides(), ()
        said.append("width and height as the boxes', and not the images'")
    if roles.renamed():
        said.append(f"columns of other names: {', '.join(roles.renamed())}")
    if form is not wanted:
        said.append(f"boxes as {', '.join(form.names)}, and not as dataset.table.boxes says")
    changes = []
    if said:
        changes.append(Change("table_form", "; ".join(said), "read as such", "write it as docs/artifacts.md shows"))
    scored = numbers.pop(SCORE).numbers() if scores else np.ones(0)
    scored_count = int((np.isfinite(scored) & (scored != 1)).sum())
    changes += [detections(scored_count, count, "row")] if scored_count else []
    names = words["class"].words
    blank = np.array([clean_name(word) == "" for word in names])[words["class"].codes()]
    for name in form.names:
        blank &= numbers[name].empty()
    non_numeric: dict[int, str] = {}
    for name in form.names:
        for row, word in numbers[name].wrong.items():
            if not blank[row]:
                non_numeric.setdefault(row, f"{name} of row {row + 1} is {word[:40]!r}, not a number")
    sizes = _sizes(numbers, count, path, faults) if sides else None
    written = _side_by_side(numbers, form.names, count)
    _refuse_shares(written, path)
    unnamed = words["file"].words.index("") if "" in words["file"].words else -1
    empty = unnamed >= 0 and blank[words["file"].codes() == unnamed].all()  # rows as spreadsheets leave at the end
    files, file, of_files = _files(root, table, words["file"], bool(empty), faults)
    return Rows(
        table,
        form,
        file,
        files,
        of_files,
        words["split"].codes() if split is None else np.zeros(count, np.int32),
        words["split"].words if split is None else [split],
        words["class"].codes(),
        names,
        written,
        blank,
        non_numeric,
        {role: _flag(words[role], path, faults) if role in words else np.zeros(count, np.bool_) for role in FLAGS},
        sizes,
        changes,
    )


def _are_of_boxes(numbers: Mapping[str, Numbers], form: BoxFormat) -> bool:
    """Whether the columns of the image's sides hold the boxes' in most rows; inclusive corners are a pixel off."""
    columns = [numbers[name].numbers() for name in (*form.names, *SIDES)]
    boxes, sides = np.stack(columns[:4], axis=1), np.stack(columns[4:], axis=1)
    known = np.isfinite(boxes).all(axis=1) & np.isfinite(sides).all(axis=1)
    off = np.abs(form.sides(boxes[known]) - sides[known]).max(axis=1, initial=0)
    return 2 * int((off <= 1).sum()) > len(off)


def _are_of_images(numbers: Mapping[str, Numbers], file: npt.NDArray[np.int32]) -> bool:
    """Whether the columns of the image's sides are the same in all rows of a file, and no box is beyond them."""
    boxes, sides = (np.stack([numbers[name].numbers() for name in names], axis=1) for names in (XYWH.names, SIDES))
    known = np.isfinite(boxes).all(axis=1) & np.isfinite(sides).all(axis=1)
    boxes, sides, file = boxes[known], sides[known], file[known]
    _, first, inverse = np.unique(file, return_index=True, return_inverse=True)
    same = (sides == sides[first][inverse]).all()
    return bool(same and (boxes[:, :2] + boxes[:, 2:] <= sides + 1).all())


def _checked_form(path: Path, names: Sequence[str], roles: Roles, wanted: BoxFormat, split: str | None) -> BoxFormat:
    form = roles.form or wanted
    needed = ("file", *(() if split is not None else ("split",)), "class", *form.names)
    for role in needed:
        if role not in roles.columns:
            remedy = f"it needs {', '.join(needed)}, and has {', '.join(map(repr, names[:12]))}"
            if role == "split":
                remedy = f"write one, name a table for each split in dataset.table.train and test, {REMEDY}"
            raise InputError(f"{path}: has no column {role!r}; {remedy}")
    return form


def _refuse_shares(written: npt.NDArray[np.float64], path: Path) -> None:
    """Shares of objects that reach over the border, or that are rounded, may be a little over 1."""
    largest = np.max(written, initial=-np.inf, where=np.isfinite(written))
    if not -np.inf < largest < _LEAST_PX:
        return
    broken = written[np.isfinite(written) & (written % 1 != 0)]
    if 2 * int((broken <= 1).sum()) > len(broken):
        raise InputError(
            f"{path}: its boxes are shares of the image, the largest is {largest:.12g}; multiply them by "
            "the image's width and height"
        )


def _files(
    root: Path, table: str, column: Words, without_name: bool, faults: Faults
) -> tuple[list[str], npt.NDArray[np.int32], dict[int, list[Change]]]:
    """The images' paths, each once, (N,) which one each row names, and what was changed in their names.

    `without_name`: whether rows may name none, and so be passed over.
    """
    words = column.words
    names = WrittenNames(root, words)
    beside = table.rpartition("/")[0]
    known: dict[str, int] = {}
    changes: dict[int, list[Change]] = {}
    codes = np.zeros(len(words), np.int32)
    for word_code, word in enumerate(words):
        found = Found("", "")
        if word or not without_name:
            with faults.going_on():
                found = _find(root, names, word, beside, f"{root / table}: column {printable(column.name)}")
        code = codes[word_code] = known.setdefault(found.path, len(known))
        if found.written and code not in changes:
            changes[int(code)] = [renamed(word, found.written, found.path)]
    return list(known), codes[column.codes()], changes


def _find(root: Path, names: WrittenNames, word: str, beside: str, where: str) -> Found:
    """The image that a name means: beside the table, below the root, or in a folder `images` of these."""
    first = names.find(word, where)
    near = names.find(word, where, beside) if beside else first
    if os.path.isfile(root / near.path):  # which a name means that is there below the root too
        return near
    if os.path.isfile(root / first.path):
        return first
    for folder in (_IMAGES, f"{beside}/{_IMAGES}" if beside else ""):
        if folder:
            other = names.find(word, where, folder)
            if os.path.isfile(root / other.path):
                ways = ["its folder left out"] + [other.written] * bool(other.written)
                return Found(other.path, " and ".join(ways))
    return first


def _side_by_side(numbers: dict[str, Numbers], names: Sequence[str], count: int) -> npt.NDArray[np.float64]:
    """(N, len(names)) of columns, which are taken out of `numbers` one by one, so that none is held twice."""
    together = np.empty((count, len(names)))
    for index, name in enumerate(names):
        together[:, index] = numbers.pop(name).numbers()
    return together


def _flag(column: Words, path: Path, faults: Faults) -> npt.NDArray[np.bool_]:
    for word in column.words:
        if word.lower() not in _TRUTH:
            with faults.going_on():
                raise InputError(f"{path}: column {column.name!r} holds {word[:40]!r}; write 0, 1, false or true")
    return np.array([_TRUTH.get(word.lower(), False) for word in column.words], np.bool_)[column.codes()]


def _sizes(numbers: dict[str, Numbers], count: int, path: Path, faults: Faults) -> npt.NDArray[np.float64]:
    """(N, 2) sizes as the rows give them, NaN where they give none."""
    for role in SIDES:
        for row, word in numbers[role].wrong.items():
            if word:
                with faults.going_on():
                    what = f"{printable(numbers[role].name)} of row {row + 1}"
                    raise InputError(f"{path}: {what} is {word[:40]!r}, not a number; correct it")
    return _side_by_side(numbers, SIDES, count)
