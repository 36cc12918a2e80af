"""Parquet tables: deterministic, streamed writers and readers that open one image at a time.

A table's rows stand in the order of its images (ascending `image_id`, then ascending `view`), and a row
group never ends inside an image. One image is therefore found by the row groups' statistics and read with one group.
"""

from __future__ import annotations

import bisect
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts.atomic import atomic_file
from pipeline.artifacts.image_views import count_views
from pipeline.artifacts.schemas import SCHEMA_VERSION
from pipeline.errors import InputError

Columns = dict[str, np.ndarray]

_ROWS_PER_GROUP = 65_536
_IMAGES_PER_GROUP = 64
_VIEWS = 128  # more than there are views of an image


class TableWriter:
    """Streams a Parquet file image by image; the file appears under its name only when the writer closes without error.

    Args:
        path: the file to write.
        schema: one of `pipeline.artifacts.schemas`.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0
        self._last_id: Any = None
        self._path = path

    def __enter__(self) -> TableWriter:
        with ExitStack() as opened:
            temporary = opened.enter_context(atomic_file(self._path))
            self._writer = opened.enter_context(_parquet_writer(temporary, self._schema))
            self._opened = opened.pop_all()
        return self

    def write(self, columns: Mapping[str, Any]) -> None:
        """Append the rows of one image, or of one view: a column each, equal lengths; a scalar repeats over them."""
        rows = max((len(value) for value in columns.values() if _is_column(value)), default=1)
        if rows == 0:
            return
        full = self._pending_rows >= _ROWS_PER_GROUP or len(self._pending) >= _IMAGES_PER_GROUP
        if full and columns["image_id"] != self._last_id:
            self._flush()
        self._last_id = columns["image_id"]
        arrays = [_to_arrow(columns[field.name], field.type, rows) for field in self._schema]
        self._pending.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._pending_rows += rows

    def _flush(self) -> None:
        if self._pending:
            table = pa.Table.from_batches(self._pending, schema=self._schema)
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))
            self._pending, self._pending_rows = [], 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._opened.__exit__(kind, error, trace)
            return
        with self._opened:
            self._flush()


def _parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True)


def assemble_table(path: Path, schema: pa.Schema, parts: Iterable[Path]) -> int:
    """Write a table from tables of the same schema, group after group, and return how many rows it has."""
    rows = 0
    with atomic_file(path) as temporary, _parquet_writer(temporary, schema) as writer:
        for part in parts:
            with open_parquet(part, schema) as file:
                for index in range(file.num_row_groups):
                    with _decoding(part):
                        group = file.read_row_group(index, columns=schema.names)
                    writer.write_table(pa.Table.from_arrays(group.columns, schema=schema), max(1, group.num_rows))
                    rows += group.num_rows
    return rows


def _is_column(value: Any) -> bool:
    return isinstance(value, list | tuple | np.ndarray) and np.ndim(value) > 0


def _to_arrow(value: Any, kind: pa.DataType, rows: int) -> pa.Array:
    if _is_column(value):
        return pa.array(value, type=kind)
    return pa.repeat(pa.scalar(value, type=kind), rows)


def write_table(path: Path, schema: pa.Schema, columns: Mapping[str, Any]) -> None:
    """Write a whole small table at once (one row group)."""
    table = pa.table({field.name: pa.array(columns[field.name], type=field.type) for field in schema}, schema=schema)
    with atomic_file(path) as temporary:
        pq.write_table(
            table, temporary, compression="zstd", row_group_size=max(1, table.num_rows), write_page_checksum=True
        )


def open_parquet(path: Path, schema: pa.Schema) -> pq.ParquetFile:
    """Open a table of this project.

    Raises:
        InputError: the file is missing, is no Parquet file, or was written under another schema.
    """
    path = Path(path)
    rerun = _remedy(path)
    if not path.is_file():
        raise InputError(f"{path}: no such table; {rerun}")
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
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
def _decoding(path: Path) -> Iterator[None]:
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
    with _decoding(Path(path)):
        return _to_numpy(file.read(columns=list(names) if names else schema.names))


def _to_numpy(table: pa.Table) -> Columns:
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


class ImageRows:
    """Random access to the rows of one image, or of one view of it, in a table too large to hold.

    Decoded row groups are kept up to `cache_bytes`, so that a small table is decoded once and a large one costs one
    row group a look-up while memory stays bounded.
    """

    def __init__(self, path: Path, schema: pa.Schema, cache_bytes: int = 32 << 20) -> None:
        self._path = Path(path)
        self._file = open_parquet(path, schema)
        self._names = schema.names
        self._has_views = "view" in schema.names
        column = self._file.schema_arrow.get_field_index("image_id")
        metadata = self._file.metadata
        self._first_ids = [metadata.row_group(i).column(column).statistics.min for i in range(metadata.num_row_groups)]
        self._groups: OrderedDict[int, tuple[Columns, dict[tuple[str, int], slice], int]] = OrderedDict()
        self._cache_bytes = cache_bytes
        self._held = 0

    def __len__(self) -> int:
        """Rows of the whole table."""
        return int(self._file.metadata.num_rows)

    def count_entries(self, images: int) -> int:
        """How many views of so many images there are, as far as the table shows; those without rows count too."""
        column, metadata = self._file.schema_arrow.get_field_index("view"), self._file.metadata
        last = (metadata.row_group(group).column(column).statistics.max for group in range(metadata.num_row_groups))
        return images * count_views(max(last, default=0))

    def count_with_rows(self) -> int:
        """How many views of images have a row; a row group never ends inside an image."""
        count = 0
        for group in self.groups("image_id", "view"):
            ids, view = group["image_id"], group["view"]
            count += int(len(ids) > 0) + int(np.count_nonzero((ids[1:] != ids[:-1]) | (view[1:] != view[:-1])))
        return count

    def groups(self, *names: str) -> Iterator[Columns]:
        """Some columns of the table, row group by row group."""
        for group in range(self._file.metadata.num_row_groups):
            with _decoding(self._path):
                columns = _to_numpy(self._file.read_row_group(group, columns=list(names)))
            yield columns

    def __getitem__(self, entry: tuple[str, int]) -> Columns:
        """The rows of `(image_id, view)`; arrays of length 0 where the table has none."""
        image_id, view = entry
        group = bisect.bisect_right(self._first_ids, image_id) - 1
        columns, spans = self._load(max(group, 0))
        span = spans.get((image_id, view if self._has_views else 0), slice(0, 0))
        return {name: values[span] for name, values in columns.items()}

    def _load(self, group: int) -> tuple[Columns, dict[tuple[str, int], slice]]:
        if group in self._groups:
            self._groups.move_to_end(group)
        else:
            if not self._first_ids:
                return {name: np.empty(0) for name in self._names}, {}
            with _decoding(self._path):
                table = self._file.read_row_group(group, columns=self._names)
            spans = _spans(table, self._has_views)
            columns = _to_numpy(table.drop_columns([n for n in ("image_id", "view") if n in table.column_names]))
            size = sum(values.nbytes for values in columns.values())
            self._groups[group] = (columns, spans, size)
            self._held += size
            while self._held > self._cache_bytes and len(self._groups) > 1:
                self._held -= self._groups.popitem(last=False)[1][2]
        return self._groups[group][:2]


def _spans(table: pa.Table, has_views: bool) -> dict[tuple[str, int], slice]:
    ids = table.column("image_id").combine_chunks().dictionary_encode()
    codes = np.asarray(ids.indices, dtype=np.int64) * _VIEWS
    if has_views:
        codes += np.asarray(table.column("view").combine_chunks()).astype(np.int64)
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    ends = np.append(starts[1:], len(codes))
    names = ids.dictionary.to_pylist()
    return {
        (names[codes[start] // _VIEWS], int(codes[start]) % _VIEWS): slice(int(start), int(end))
        for start, end in zip(starts, ends, strict=True)
    }


def iterate_groups(path: Path, schema: pa.Schema) -> Iterator[Columns]:
    """The table row group by row group, each as NumPy columns."""
    file = open_parquet(path, schema)
    for group in range(file.metadata.num_row_groups):
        with _decoding(Path(path)):
            columns = _to_numpy(file.read_row_group(group, columns=schema.names))
        yield columns
