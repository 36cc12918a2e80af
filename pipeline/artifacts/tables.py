"""Parquet tables: deterministic, streamed writers and readers that open one image at a time.

A table's rows stand in the order of its images (ascending `image_id`, then ascending `view`), and a row
group never ends inside an image. One image is therefore found by the row groups' statistics and read with one group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts.atomic import atomic_file
from pipeline.artifacts.fields import SCHEMA_VERSION
from pipeline.artifacts.plain_chunks import plain_options
from pipeline.runtime.errors import InputError

Columns = dict[str, np.ndarray]

_ROWS_PER_GROUP = 65_536
_IMAGES_PER_GROUP = 64


class TableWriter:
    """Streams a Parquet file image by image; the file appears under its name only when the writer closes without error.

    Args:
        path: the file to write.
        schema: of the table.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._pending: list[Mapping[str, Any]] = []
        self._counts: list[int] = []
        self._rows = 0
        self._last_id: Any = None
        self._path = path

    def __enter__(self) -> TableWriter:
        with ExitStack() as opened:
            temporary = opened.enter_context(atomic_file(self._path))
            self._writer = opened.enter_context(_parquet_writer(temporary, self._schema))
            self._opened = opened.pop_all()
        return self

    def write(self, columns: Mapping[str, Any]) -> None:
        """Append the rows of one image, or of one view: a column each, equal lengths; a scalar repeats over them.

        Columns are converted when their group is complete, and must not be modified before.

        Raises:
            ValueError: columns have different lengths.
        """
        lengths = {len(value) for value in columns.values() if _is_column(value)}
        if len(lengths) > 1:
            raise ValueError(f"columns of {min(lengths)} and of {max(lengths)} rows")
        rows = lengths.pop() if lengths else 1
        if rows == 0:
            return
        full = self._rows >= _ROWS_PER_GROUP or len(self._pending) >= _IMAGES_PER_GROUP
        if full and columns["image_id"] != self._last_id:
            self._flush()
        self._last_id = columns["image_id"]
        self._pending.append(columns)
        self._counts.append(rows)
        self._rows += rows

    def _flush(self) -> None:
        if self._pending:
            arrays = [self._column(field) for field in self._schema]
            table = pa.Table.from_arrays(arrays, schema=self._schema)
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))
            self._pending, self._counts, self._rows = [], [], 0

    def _column(self, field: pa.Field) -> pa.Array:
        try:
            return _joined([columns[field.name] for columns in self._pending], self._counts, field.type)
        except (KeyError, pa.ArrowException) as error:
            first, last = (self._pending[index]["image_id"] for index in (0, -1))
            error.add_note(f"in {self._path.name}, column {field.name} of images {first} to {last}")
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._opened.__exit__(kind, error, trace)
            return
        with self._opened:
            self._flush()


def _parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, schema, write_page_checksum=True, **_layout(schema))


def is_plain(schema: pa.Schema) -> bool:
    """Whether tables of a schema are stored plain, see `table_schema`; those of earlier versions are not."""
    return (schema.metadata or {}).get(b"layout") == b"plain"


def _layout(schema: pa.Schema) -> dict[str, Any]:
    return plain_options() if is_plain(schema) else {"compression": "zstd"}


def assemble_table(path: Path, schema: pa.Schema, parts: Iterable[Path]) -> int:
    """Write a table from tables of the same schema, group after group, and return how many rows it has."""
    rows = 0
    with atomic_file(path) as temporary, _parquet_writer(temporary, schema) as writer:
        for part in parts:
            with open_parquet(part, schema) as file:
                for index in range(file.num_row_groups):
                    with decoding(part):
                        group = file.read_row_group(index, columns=schema.names)
                    writer.write_table(pa.Table.from_arrays(group.columns, schema=schema), max(1, group.num_rows))
                    rows += group.num_rows
    return rows


def _is_column(value: Any) -> bool:
    return isinstance(value, list | tuple | np.ndarray) and np.ndim(value) > 0


def _joined(values: Sequence[Any], counts: Sequence[int], kind: pa.DataType) -> pa.Array:
    """One column of several images, converted in one step where that gives the same: a step for each image takes
    longer than all else, where an image has few rows."""
    columns = [_is_column(value) for value in values]
    if not any(columns):
        own = pa.array(values, type=kind)
        return own if max(counts) == 1 else own.take(pa.array(np.repeat(np.arange(len(counts)), counts)))
    if all(type(value) is np.ndarray for value in values) and len({value.dtype for value in values}) == 1:
        return pa.array(np.concatenate(values), type=kind)
    pieces = zip(values, columns, counts, strict=True)
    return pa.concat_arrays([pa.array(value if own else [value] * count, type=kind) for value, own, count in pieces])


def write_table(path: Path, schema: pa.Schema, columns: Mapping[str, Any]) -> None:
    """Write a whole small table at once (one row group)."""
    table = pa.table({field.name: pa.array(columns[field.name], type=field.type) for field in schema}, schema=schema)
    with atomic_file(path) as temporary:
        pq.write_table(
            table, temporary, row_group_size=max(1, table.num_rows), write_page_checksum=True, **_layout(schema)
        )


def open_parquet(path: Path, schema: pa.Schema, as_dictionaries: Sequence[str] = ()) -> pq.ParquetFile:
    """Open a table of this project.

    Args:
        as_dictionaries: columns of text that are read as Arrow's dictionaries, each value once.

    Raises:
        InputError: the file is missing, is not a Parquet file, or was written under another schema.
    """
    path = Path(path)
    rerun = _remedy(path)
    if not path.is_file():
        raise InputError(f"{path}: no such table; {rerun}")
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True, read_dictionary=list(as_dictionaries))
        names = set(file.schema_arrow.names)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable Parquet file ({_first_line(error)}); {rerun}") from error
    version = (file.schema_arrow.metadata or {}).get(b"schema_version", b"none").decode()
    if version != SCHEMA_VERSION:
        raise InputError(f"{path}: schema_version is {version}, this code reads {SCHEMA_VERSION}; {rerun}")
    missing = sorted(set(schema.names) - names)
    if missing:
        raise InputError(f"{path}: column {missing[0]!r} is missing; {rerun}")
    return file


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Tell damaged pages, whose checksum differs or which cannot be decoded, as bad input."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is damaged ({_first_line(error)}); {_remedy(path)}") from error


def _remedy(path: Path) -> str:
    return f"rerun the stage that writes it (dvc repro {path.parent.name})"


def _first_line(error: BaseException) -> str:
    return str(error).split("\n")[0].strip()


def read_columns(path: Path, schema: pa.Schema, names: Iterable[str] | None = None) -> Columns:
    """Read a whole table into NumPy arrays; strings become object arrays."""
    file = open_parquet(path, schema)
    with decoding(Path(path)):
        return to_numpy(file.read(columns=list(names) if names else schema.names))


def to_numpy(table: pa.Table) -> Columns:
    """Columns as NumPy arrays; strings become object arrays."""
    return {name: table.column(name).to_numpy(zero_copy_only=False) for name in table.column_names}


def boxes_of(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """The (N, 4) float32 xyxy boxes of columns x1, y1, x2, y2."""
    return np.stack([columns[name] for name in ("x1", "y1", "x2", "y2")], axis=1).astype(np.float32, copy=False)


def box_columns(boxes: np.ndarray) -> Columns:
    """Columns x1, y1, x2, y2 of (N, 4) boxes."""
    boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    return {name: boxes[:, i] for i, name in enumerate(("x1", "y1", "x2", "y2"))}


def deltas_of(columns: Columns) -> np.ndarray:
    """The (N, 4) float32 deltas of columns dx, dy, dw, dh."""
    return np.stack([columns[name] for name in ("dx", "dy", "dw", "dh")], axis=1).astype(np.float32, copy=False)


def delta_columns(deltas: np.ndarray) -> Columns:
    """Columns dx, dy, dw, dh of (N, 4) deltas."""
    return {name: deltas[:, i] for i, name in enumerate(("dx", "dy", "dw", "dh"))}


def iterate_groups(path: Path, schema: pa.Schema) -> Iterator[Columns]:
    """The table row group by row group, each as NumPy columns."""
    file = open_parquet(path, schema)
    for group in range(file.metadata.num_row_groups):
        with decoding(Path(path)):
            columns = to_numpy(file.read_row_group(group, columns=schema.names))
        yield columns
