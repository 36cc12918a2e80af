"""The rows of one image, found in a table too large to hold."""

from __future__ import annotations

import bisect
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.artifacts.image_views import count_views
from pipeline.artifacts.tables import Columns, decoding, open_parquet, to_numpy

_VIEWS = 128  # more than there are views of an image


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
            with decoding(self._path):
                columns = to_numpy(self._file.read_row_group(group, columns=list(names)))
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
            with decoding(self._path):
                table = self._file.read_row_group(group, columns=self._names)
            spans = _spans(table, self._has_views)
            columns = to_numpy(table.drop_columns([n for n in ("image_id", "view") if n in table.column_names]))
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
