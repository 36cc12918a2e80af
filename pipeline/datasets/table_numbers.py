"""Columns of numbers, also where they are texts with decimal commas or with marks between thousands.

Whether "1,234" is 1234 or 1.234 is known of a whole table, by its other numbers: "10,5" can only have a decimal comma,
"10.5" only a point. So both readings are kept until the table is read; only these cells take more memory than a float.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.datasets.file_names import printable
from pipeline.datasets.records import to_float, to_floats
from pipeline.runtime.errors import InputError

_GROUPS = "[ '\u2019\u00a0\u202f]"  # spaces of all widths, apostrophes
_GROUPED = re.compile(rf"[+-]?[0-9]{{1,3}}(?:{_GROUPS}[0-9]{{3}})+(?=$|[.,])")
_POINT = re.compile(r"[+-]?(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?")
_COMMA = re.compile(r"[+-]?(?:[1-9][0-9]{0,2}(?:\.[0-9]{3})+|[0-9]+)(?:,[0-9]*)?")
_EITHER = r"^\s*[+-]?[1-9][0-9]{0,2}(\.[0-9]{3})+\s*$"  # a float to Python, and whole with marks between thousands
_FEW = 1_000  # numbers with a comma among others with a point that are reported one by one


class Numbers:
    """A column of numbers, or of texts that should be numbers. `wrong` holds the rows of other texts."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self._path = name, path
        self._numbers, self._empty = bytearray(), bytearray()  # of float64 and bool
        self._rows, self._readings = bytearray(), bytearray()  # int64, and (., 2) float64 with a point and a comma
        self.wrong: dict[int, str] = {}
        self.points = self.commas = self.grouped = 0  # cells that can only have a decimal point, or comma; with groups
        self.open_points = self.open_commas = 0  # such as 1.234 and 1,234
        self.example: tuple[int, str, float, float] | None = None  # the first open one: row, text, its two readings
        self._texts: dict[int, str] = {}  # of the first cells with a comma

    def add(self, column: pa.Array) -> None:
        """Take a block's part of the column.

        Raises:
            InputError: it holds neither numbers nor texts.
        """
        first = len(self._empty)
        if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
            empty = column.is_null().to_numpy(zero_copy_only=False).astype(np.bool_)
            numbers = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)
            self.wrong.update((first + row, "") for row in np.flatnonzero(empty).tolist())
        else:
            column = texts_of(column, self.name, self._path)
            texts = [text.strip() for text in column.to_pylist()]
            numbers, others = to_floats(texts)
            empty = np.array([text == "" for text in texts], np.bool_)
            self._keep_readings(column, texts, others, numbers, first)
        self._numbers += numbers.tobytes()
        self._empty += empty.tobytes()

    def _keep_readings(
        self, column: pa.Array, texts: list[str], others: list[int], numbers: npt.NDArray[np.float64], first: int
    ) -> None:
        for row in others:
            text = texts[row]
            point, comma, grouped = _readings(text)
            if point is None and comma is None:
                self.wrong[first + row] = text
                continue
            self.grouped += grouped
            if point == comma and point is not None:
                numbers[row] = point
                continue
            if point is not None and comma is not None:
                self.open_commas += 1
            elif point is not None:
                self.points += 1
            else:
                self.commas += 1
                if len(self._texts) < _FEW:
                    self._texts[first + row] = text
            self._keep(first + row, text, point, comma)
        points = pc.sum(pc.match_substring(column, ".")).as_py() or 0
        if points:
            either = pc.match_substring_regex(column, _EITHER).to_numpy(zero_copy_only=False)
            rows = [row for row in np.flatnonzero(either).tolist() if np.isfinite(numbers[row])]
            for row in rows:
                self._keep(first + row, texts[row], float(numbers[row]), _readings(texts[row])[1])
            self.open_points += len(rows)
            self.points += points - len(rows) - sum("." in texts[row] for row in others)

    def _keep(self, row: int, text: str, point: float | None, comma: float | None) -> None:
        self._rows += np.int64(row).tobytes()
        pair = [np.nan if number is None else number for number in (point, comma)]
        self._readings += np.array(pair).tobytes()
        if self.example is None and point is not None and comma is not None:
            self.example = row, text, point, comma

    def settle(self, comma: bool) -> None:
        """Take the readings with decimal commas, or with points; what has none is `wrong`."""
        rows = np.frombuffer(self._rows, np.int64)
        if len(rows):
            chosen = np.frombuffer(self._readings, np.float64).reshape(-1, 2)[:, int(comma)]
            np.frombuffer(self._numbers, np.float64)[rows] = chosen
            for row in rows[np.isnan(chosen)].tolist():
                self.wrong[row] = self._texts.get(row, "")

    def numbers(self) -> npt.NDArray[np.float64]:
        """(N,) the numbers, NaN where there is none."""
        return np.frombuffer(self._numbers, np.float64)

    def empty(self) -> npt.NDArray[np.bool_]:
        """(N,) rows in which nothing stands."""
        return np.frombuffer(self._empty, np.bool_)


def settle(columns: Iterable[Numbers], path: Path, semicolons: bool) -> list[str]:
    """Decide how a table's columns write decimals, from all their numbers.

    Args:
        columns: those of numbers.
        path: of the table.
        semicolons: whether these stand between its columns, which is so where commas stand in numbers.

    Returns:
        What is ambiguous in the numbers, in words.

    Raises:
        InputError: they can be read in two ways, or are written in both.
    """
    columns = list(columns)
    points, commas = sum(own.points for own in columns), sum(own.commas for own in columns)
    open_commas = sum(own.open_commas for own in columns)
    is_open = open_commas or (semicolons and any(own.open_points for own in columns))
    if points and commas > _FEW:
        raise InputError(
            f"{path}: has {points:,} numbers with a decimal point and {commas:,} with a comma; write all with a point"
        )
    comma_decimals = commas > 0 and not points
    multiplied = sum(own.open_points for own in columns) if comma_decimals else open_commas if points else 0
    if (is_open and not points and not commas) or multiplied > points + commas:
        own = next(own for own in columns if own.example is not None)
        row, text, point, comma = own.example or (0, "", 0.0, 0.0)
        what = f"{printable(own.name)} of row {row + 1}"
        raise InputError(
            f"{path}: {what} is {text[:40]!r}, which may be {point:.12g} or {comma:.12g}; write "
            "numbers with a point for decimals and nothing between thousands"
        )
    for own in columns:
        own.settle(comma_decimals)
    grouped = any(own.grouped for own in columns) or (not comma_decimals and open_commas > 0)
    grouped |= comma_decimals and any(own.open_points for own in columns)
    return ["decimal commas"] * comma_decimals + ["marks between thousands"] * bool(grouped)


def texts_of(column: pa.Array, name: str, path: Path) -> pa.Array:
    """The column as texts, empty where nothing stands.

    Raises:
        InputError: it holds something that is not text or number.
    """
    try:
        return pc.fill_null(pc.cast(column, pa.string()), "")
    except pa.ArrowException as error:
        raise InputError(f"{path}: column {name!r} holds {column.type}, neither text nor numbers") from error


def _readings(text: str) -> tuple[float | None, float | None, bool]:
    """A text as a number with decimal point and with decimal comma, None where it is none; and whether it surely has
    marks between thousands."""
    grouped = _GROUPED.match(text)
    if grouped:
        text = re.sub(_GROUPS, "", grouped[0]) + text[grouped.end() :]
    point = to_float(text.replace(",", "")) if _POINT.fullmatch(text) else None
    comma = to_float(text.replace(".", "").replace(",", ".")) if _COMMA.fullmatch(text) else None
    both = "." in text and "," in text
    return point, comma, bool(grouped) or both or text.count(",") > 1 or text.count(".") > 1
