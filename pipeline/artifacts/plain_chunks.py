"""Values of a Parquet file that lie in it as they do in memory, so that a few rows are read by their offset.

A column chunk, which is a column of one row group, is plain where it is neither compressed nor encoded, has no nulls
and is one page: a header, then the values. `plain_options` makes a writer write such chunks. Any reader of Parquet
reads them too. https://parquet.apache.org/docs/file-format/data-pages/
"""

from __future__ import annotations

import inspect
import os
import weakref
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.runtime.errors import InputError

INDEXED = ("image_id", "view")
"""Columns that say where the rows of an entry are. They are encoded, as they take almost no bytes so."""

_WITHOUT_LIMIT = 1 << 30
_LARGEST_HEADER = 1024
_STORED: dict[pa.DataType, tuple[str, np.dtype[Any]]] = {
    pa.int8(): ("INT32", np.dtype("<i4")),
    pa.int16(): ("INT32", np.dtype("<i4")),
    pa.int32(): ("INT32", np.dtype("<i4")),
    pa.int64(): ("INT64", np.dtype("<i8")),
    pa.float32(): ("FLOAT", np.dtype("<f4")),
    pa.float64(): ("DOUBLE", np.dtype("<f8")),
}
# A page's header in Thrift's compact protocol begins with four 32-bit integers: type, bytes, compressed bytes, CRC.
_NEXT_FIELD_IS_AN_INTEGER = 0x15
_DATA_PAGE = 0


def plain_options() -> dict[str, Any]:
    """Options of `pq.ParquetWriter` by which the chunks of all columns but `INDEXED` are plain."""
    options: dict[str, Any] = {
        "compression": "none",
        "use_dictionary": list(INDEXED),
        "data_page_size": _WITHOUT_LIMIT,
    }
    # Versions of pyarrow that do not know it have no such limit.
    if "max_rows_per_page" in inspect.signature(pq.ParquetWriter.__init__).parameters:
        options["max_rows_per_page"] = _WITHOUT_LIMIT
    return options


class PlainChunks:
    """Reads rows of plain chunks of one file, each by its offset.

    Args:
        path: a Parquet file. metadata: its own. schema: columns to read; `INDEXED` are left out.
    """

    def __init__(self, path: Path, metadata: pq.FileMetaData, schema: pa.Schema) -> None:
        self._path, self._metadata = path, metadata
        self._fields = [field for field in schema if field.name not in INDEXED]
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)
        places = {metadata.schema.column(place).path: place for place in range(metadata.num_columns)}
        self._columns = [places[field.name] for field in self._fields]

    def starts(self, group: int) -> np.ndarray | None:
        """Where the values of each column of a row group begin in the file, int64; None where a chunk is not plain.

        Raises:
            InputError: the values differ from their checksum.
        """
        if any(field.type not in _STORED for field in self._fields):
            return None
        row_group = self._metadata.row_group(group)
        found = [
            self._start(row_group.column(column), *_STORED[field.type])
            for column, field in zip(self._columns, self._fields, strict=True)
        ]
        known = [start for start in found if start is not None]
        return np.array(known, np.int64) if len(known) == len(found) else None

    def read(self, starts: np.ndarray, rows: slice) -> dict[str, np.ndarray]:
        """Some rows of the group whose values begin at `starts`, as columns of the schema's types."""
        columns = {}
        for field, start in zip(self._fields, starts.tolist(), strict=True):
            stored = _STORED[field.type][1]
            values = np.empty(rows.stop - rows.start, stored)
            self._fill(values, start + rows.start * stored.itemsize)
            columns[field.name] = values.astype(field.type.to_pandas_dtype(), copy=False)
        return columns

    def _start(self, chunk: pq.ColumnChunkMetaData, physical: str, stored: np.dtype) -> int | None:
        size = chunk.num_values * stored.itemsize
        header_size = chunk.total_compressed_size - size
        plain = (
            chunk.compression == "UNCOMPRESSED"
            and not chunk.has_dictionary_page
            and set(chunk.encodings) <= {"PLAIN", "RLE"}  # RLE is that of the levels, which have no bytes without nulls
            and chunk.physical_type == physical
            and 0 < header_size <= _LARGEST_HEADER
        )
        if not plain:
            return None
        header = np.empty(header_size, np.uint8)
        self._fill(header, chunk.data_page_offset)
        integers = _first_integers(header.tobytes(), 4)
        if integers is None or integers[:3] != [_DATA_PAGE, size, size]:
            return None
        start = chunk.data_page_offset + header_size
        values = np.empty(size, np.uint8)
        self._fill(values, start)
        if zlib.crc32(values.data) != integers[3] & 0xFFFFFFFF:
            raise self._damaged("checksum of a page differs")
        return int(start)

    def _fill(self, values: np.ndarray, offset: int) -> None:
        """Read as many bytes as `values` has; a read by offset moves no position that other threads share."""
        try:
            count = os.preadv(self._descriptor, [values.data], offset)
        except OSError as error:
            raise self._damaged(str(error)) from error
        if count != values.nbytes:
            raise self._damaged("it is cut off")

    def _damaged(self, how: str) -> InputError:
        return InputError(
            f"{self._path}: is damaged ({how}); rerun the stage that writes it (dvc repro {self._path.parent.name})"
        )


def _first_integers(header: bytes, count: int) -> list[int] | None:
    """The first fields of a structure in Thrift's compact protocol, None where they are no 32-bit integers in a row."""
    found: list[int] = []
    place = 0
    while len(found) < count:
        if header[place : place + 1] != bytes([_NEXT_FIELD_IS_AN_INTEGER]):
            return None
        value, shift, place = 0, 0, place + 1
        while place < len(header):
            value |= (header[place] & 0x7F) << shift
            shift, place = shift + 7, place + 1
            if header[place - 1] < 0x80:
                break
        found.append((value >> 1) ^ -(value & 1))  # zigzag: the sign is the lowest bit
    return found
