"""Reads the small CSV files that stages write for `dvc plots`."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from pipeline.runtime.errors import InputError

_NAMES = ("class", "actual", "predicted")  # columns that hold names of classes


def read_csv(path: Path) -> dict[str, np.ndarray]:
    """Columns by name, in the file's order: float64 where every value is a number, else strings. Names of classes are
    strings, those that look like numbers too.

    Raises:
        InputError: the file is missing, is no such table, or has no rows.
    """
    rerun = f"dvc repro {path.parent.name}"
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error}); {rerun}") from error
    if len(rows) < 2 or any(len(row) != len(rows[0]) for row in rows):
        raise InputError(f"{path}: is not a table with a header and rows of equal length; {rerun}")
    return {name: np.array(values) if name in _NAMES else _column(values) for name, *values in zip(*rows, strict=True)}


def read_numbers(path: Path, *needed: str) -> dict[str, np.ndarray]:
    """As `read_csv`, and `needed` columns must be there and hold numbers."""
    columns = read_csv(path)
    for name in needed:
        if name not in columns or columns[name].dtype != np.float64:
            raise InputError(f"{path}: has no column {name!r} of numbers; dvc repro {path.parent.name}")
    return columns


def _column(values: list[str]) -> np.ndarray:
    try:
        return np.array(values, dtype=np.float64)
    except ValueError:
        return np.array(values)
