"""The rows of one image, found in a table too large to hold."""

from __future__ import annotations

import bisect
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.artifacts.image_views import count_views
from pipeline.artifacts.plain_chunks import INDEXED, PlainChunks
from pipeline.artifacts.tables import Columns, decoding, is_plain, open_parquet, to_numpy

_VIEWS = 128  # more than there are views of an image


class ImageRows:
    """Random access to the rows of one image, or of one view of it, in a table too large to hold.

    Of a plain table (`table_schema`) the rows are read by their offset: of each row group its ids and views are decoded
    once, and its values checked against their checksums. Of others whole row groups are decoded and kept up to
    `cache_bytes`, so that a small table is decoded once and a large one costs one row group a look-up.
    """

    def __init__(self, path: Path, schema: pa.Schema, cache_bytes: int = 32 << 20) -> None:
        self._path = Path(path)
        self._file = open_parquet(path, schema, as_dictionaries=["image_id"])
        self._names = schema.names
        self._has_views = "view" in schema.names
        metadata = self._file.metadata
        column = self._file.schema_arrow.get_field_index("image_id")
        self._first_ids = [metadata.row_group(i).column(column).statistics.min for i in range(metadata.num_row_groups)]
        self._chunks = PlainChunks(self._path, metadata, schema) if is_plain(self._file.schema_arrow) else None
        self._plain: dict[int, tuple[np.ndarray, _Spans]] = {}
        self._decoded: OrderedDict[int, tuple[Columns, _Spans, int]] = OrderedDict()
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
            yield to_numpy(self._decode(group, names))

    def __getitem__(self, entry: tuple[str, int]) -> Columns:
        """The rows of `(image_id, view)`; arrays of length 0 where the table has none."""
        if not self._first_ids:
            return {name: np.empty(0) for name in self._names if name not in INDEXED}
        image_id, view = entry
        group = max(bisect.bisect_right(self._first_ids, image_id) - 1, 0)
        key = image_id, view if self._has_views else 0
        if self._chunks is not None and group not in self._plain and group not in self._decoded:
            starts = self._chunks.starts(group)
            if starts is not None:
                index = [name for name in INDEXED if name in self._names]
                self._plain[group] = starts, _Spans(self._decode(group, index), self._has_views)
        if self._chunks is not None and group in self._plain:
            starts, spans = self._plain[group]
            return self._chunks.read(starts, spans[key])
        columns, spans = self._load(group)
        return {name: values[spans[key]] for name, values in columns.items()}

    def _decode(self, group: int, names: Sequence[str]) -> pa.Table:
        with decoding(self._path):
            return self._file.read_row_group(group, columns=list(names))

    def _load(self, group: int) -> tuple[Columns, _Spans]:
        if group in self._decoded:
            self._decoded.move_to_end(group)
        else:
            table = self._decode(group, self._names)
            spans = _Spans(table, self._has_views)
            columns = to_numpy(table.drop_columns([name for name in INDEXED if name in table.column_names]))
            size = sum(values.nbytes for values in columns.values())
            self._decoded[group] = (columns, spans, size)
            self._held += size
            while self._held > self._cache_bytes and len(self._decoded) > 1:
                self._held -= self._decoded.popitem(last=False)[1][2]
        return self._decoded[group][:2]


class _Spans:
    """Which rows of a row group each view of an image has; a few bytes a view, as those of all groups may be held."""

    def __init__(self, table: pa.Table, has_views: bool) -> None:
        ids = table.column("image_id").combine_chunks()
        codes = np.asarray(ids.indices, dtype=np.int32) * _VIEWS
        if has_views:
            codes += np.asarray(table.column("view").combine_chunks()).astype(np.int32)
        starts = np.flatnonzero(np.diff(codes, prepend=-1)).astype(np.int32)
        self._codes, self._bounds = codes[starts], np.append(starts, np.int32(len(codes)))
        self._places = {name: place for place, name in enumerate(ids.dictionary.to_pylist())}

    def __getitem__(self, entry: tuple[str, int]) -> slice:
        """The rows of `(image_id, view)`; an empty slice where there are none."""
        place = self._places.get(entry[0])
        if place is None:
            return slice(0, 0)
        runs = np.flatnonzero(self._codes == place * _VIEWS + entry[1]).tolist()
        return slice(int(self._bounds[runs[-1]]), int(self._bounds[runs[-1] + 1])) if runs else slice(0, 0)
