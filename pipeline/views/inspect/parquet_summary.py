"""Summary of a Parquet table, read column by column, one row group at a time; minima and maxima are from statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.runtime.errors import InputError
from pipeline.runtime.words import count_text
from pipeline.views.inspect.text import number_text, size_text, table_lines

_MOST_VALUES = 6
_IDS = "image_id"
# What others call them.
_KINDS = {"halffloat": "float16", "float": "float32", "double": "float64"}
_LABELS = ("label", "gt_label")
_COUNTED = (*_LABELS, "level")  # whose values are counted, without a mean


def parquet_lines(path: Path, classes: Sequence[str] = ()) -> Iterator[str]:
    """The lines on one table: rows, row groups, bytes; of each column its type, unit and range or frequent values.

    Args:
        path: a Parquet file, of this project or any other.
        classes: names of the classes, shown beside labels; the background first.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        file = pq.ParquetFile(path, read_dictionary=_text_columns(path))
        metadata = file.metadata
        yield (
            f"{path.name}: {count_text(metadata.num_rows, 'row')}, {count_text(metadata.num_row_groups, 'row group')}, "
            f"{size_text(path.stat().st_size)}"
        )
        rows = [("column", "type", "unit", "min", "mean", "max", "nulls", "values")]
        for index, field in enumerate(file.schema_arrow):
            unit = (field.metadata or {}).get(b"unit", b"").decode(errors="replace")
            kind = "string" if pa.types.is_dictionary(field.type) else _KINDS.get(str(field.type), str(field.type))
            rows.append((field.name, kind, unit, *_figures(file, index, field, classes)))
        yield from table_lines(rows, right=(3, 4, 5, 6))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).split("\n")[0].strip()
        raise InputError(f"{path}: not a readable Parquet file ({reason}); dvc repro {path.parent.name}") from error


def _text_columns(path: Path) -> list[str]:
    """Names of the string columns, which stay dictionaries while they are counted."""
    return [field.name for field in pq.read_schema(path) if pa.types.is_string(field.type)]


def _figures(
    file: pq.ParquetFile, index: int, field: pa.Field, classes: Sequence[str]
) -> tuple[str, str, str, str, str]:
    """min, mean, max, nulls and values of a column."""
    if file.metadata.num_rows == 0:
        return ("", "", "", "0", "")
    without_value = _nulls(file, index)
    nulls = number_text(without_value)
    if field.name == _IDS:
        return ("", "", "", nulls, _images(file))
    if pa.types.is_dictionary(field.type) or pa.types.is_boolean(field.type) or field.name in _COUNTED:
        return ("", "", "", nulls, _frequent(file, field.name, classes if field.name in _LABELS else ()))
    if not (pa.types.is_integer(field.type) or pa.types.is_floating(field.type)):
        return ("", "", "", nulls, "")
    low, high = _range(file, index)
    total = sum((pc.sum(chunk).as_py() or 0) for chunk in _chunks(file, field.name))
    mean = float(total) / max(1, file.metadata.num_rows - without_value)
    return (number_text(low), number_text(mean), number_text(high), nulls, "")


def _chunks(file: pq.ParquetFile, name: str) -> Iterator[pa.ChunkedArray]:
    for group in range(file.metadata.num_row_groups):
        yield file.read_row_group(group, columns=[name]).column(0)


def _nulls(file: pq.ParquetFile, index: int) -> int:
    parts = [file.metadata.row_group(group).column(index).statistics for group in range(file.metadata.num_row_groups)]
    if all(part is not None and part.has_null_count for part in parts):
        return sum(part.null_count for part in parts)
    return sum(chunk.null_count for chunk in _chunks(file, file.schema_arrow[index].name))


def _range(file: pq.ParquetFile, index: int) -> tuple[float, float]:
    parts = [file.metadata.row_group(group).column(index).statistics for group in range(file.metadata.num_row_groups)]
    if all(part is not None and part.has_min_max for part in parts):
        return min(part.min for part in parts), max(part.max for part in parts)
    ends = [pc.min_max(chunk).as_py() for chunk in _chunks(file, file.schema_arrow[index].name)]
    known = [end for end in ends if end["min"] is not None]
    return min((end["min"] for end in known), default=0), max((end["max"] for end in known), default=0)


def _images(file: pq.ParquetFile) -> str:
    """How many images there are, and how many rows each has; a row group never ends inside an image."""
    counts: list[int] = []
    first = last = ""
    for chunk in _chunks(file, _IDS):
        ids = pa.chunked_array(chunk).combine_chunks()
        codes = np.asarray(ids.indices)
        starts = np.flatnonzero(np.diff(codes, prepend=-1))
        counts += np.diff(np.append(starts, len(codes))).tolist()
        first = first or str(ids.dictionary[int(codes[0])])
        last = str(ids.dictionary[int(codes[-1])])
    each = f"{min(counts):,} to {max(counts):,} rows each, mean {number_text(float(np.mean(counts)))}"
    if min(counts) == max(counts):
        each = f"{max(counts):,} rows each"
    return f"{count_text(len(counts), 'image')}, {first} to {last}" + (f"; {each}" if max(counts) > 1 else "")


def _frequent(file: pq.ParquetFile, name: str, classes: Sequence[str]) -> str:
    """The most frequent values with their counts."""
    counts: Counter[object] = Counter()
    for chunk in _chunks(file, name):
        for pair in pc.value_counts(chunk.combine_chunks()).to_pylist():
            counts[pair["values"]] += pair["counts"]
    if len(counts) == file.metadata.num_rows > 1:
        return f"all different, as {next(iter(counts))}"
    shown = [f"{_value(value, classes)} {number:,}" for value, number in counts.most_common(_MOST_VALUES)]
    rest = len(counts) - len(shown)
    return ", ".join(shown) + (f", {count_text(rest, 'more value')}" if rest else "")


def _value(value: object, classes: Sequence[str]) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and 0 <= value < len(classes):
        return f"{value} ({classes[value]})"
    return repr(value) if value == "" else str(value)
