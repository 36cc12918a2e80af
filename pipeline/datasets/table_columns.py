"""Columns of a CSV or Parquet file, read block by block into arrays: memory holds no more texts than a block has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from pipeline.datasets.records import is_file, one_line, to_floats
from pipeline.runtime.errors import InputError

_BLOCK_ROWS, _BLOCK_BYTES = 16_384, 1 << 18  # of Parquet and of CSV
_LONGEST_HEADER = 1 << 16  # bytes


def column_names(path: Path) -> list[str]:
    """The names as they stand, repeated ones included.

    Raises:
        InputError: the file is missing or no such table.
    """
    if not is_file(path):
        raise InputError(f"{path}: no such table; set dataset.table.file to one below the data root")
    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                return list(file.schema_arrow.names)
        _refuse_other_separators(path)
        with pacsv.open_csv(path) as reader:
            return list(reader.schema.names)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _refuse_other_separators(path: Path) -> None:
    with path.open("rb") as file:
        header = file.readline(_LONGEST_HEADER)
    for separator, name in ((b";", "semicolons"), (b"\t", "tabs"), (b"|", "bars")):
        if separator in header and b"," not in header:
            raise InputError(
                f"{path}: has {name} between its columns; save it with commas there, and with points in numbers"
            )


def read_blocks(path: Path, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The named columns, some thousand rows at a time; those of CSV are texts.

    Raises:
        InputError: while iterating, where the file is damaged.
    """
    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                yield from file.iter_batches(_BLOCK_ROWS, columns=list(names))
        else:
            texts = pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, include_columns=list(names)
            )
            blocks = pacsv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES)
            with pacsv.open_csv(path, read_options=blocks, convert_options=texts) as reader:
                yield from reader
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: not a readable {path.suffix[1:] or 'CSV'} table ({one_line(error)}); mend it")


class Words:
    """A column of words, each kept once: `words` in the order of their first rows, and their codes."""

    def __init__(self, name: str, path: Path) -> None:
        self._name, self._path = name, path
        self._known: dict[str, int] = {}
        self._codes = bytearray()  # of int32; grows in place, where a list of blocks would leave holes

    def add(self, column: pa.Array) -> None:
        """Take a block's part of the column."""
        encoded = _texts(column, self._name, self._path).dictionary_encode()
        own = [self._known.setdefault(word, len(self._known)) for word in encoded.dictionary.to_pylist()]
        self._codes += np.array(own, np.int32)[encoded.indices.to_numpy(zero_copy_only=False)].tobytes()

    @property
    def words(self) -> list[str]:
        """Each word once."""
        return list(self._known)

    def codes(self) -> npt.NDArray[np.int32]:
        """(N,) index of each row's word in `words`."""
        return np.frombuffer(self._codes, np.int32)


class Numbers:
    """A column of numbers, or of texts that should be numbers. `wrong` holds the rows of other texts."""

    def __init__(self, name: str, path: Path) -> None:
        self._name, self._path = name, path
        self._numbers, self._empty = bytearray(), bytearray()  # of float64 and bool
        self.wrong: dict[int, str] = {}

    def add(self, column: pa.Array) -> None:
        """Take a block's part of the column."""
        if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
            empty = column.is_null().to_numpy(zero_copy_only=False).astype(np.bool_)
            numbers = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)
            wrong = dict.fromkeys(np.flatnonzero(empty).tolist(), "")
        else:
            texts = [text.strip() for text in _texts(column, self._name, self._path).to_pylist()]
            numbers, others = to_floats(texts)
            empty = np.array([text == "" for text in texts], np.bool_)
            wrong = {row: texts[row] for row in others}
        first = len(self._empty)
        self.wrong.update((first + row, text) for row, text in wrong.items())
        self._numbers += numbers.tobytes()
        self._empty += empty.tobytes()

    def numbers(self) -> npt.NDArray[np.float64]:
        """(N,) the numbers, NaN where there is none."""
        return np.frombuffer(self._numbers, np.float64)

    def empty(self) -> npt.NDArray[np.bool_]:
        """(N,) rows in which nothing stands."""
        return np.frombuffer(self._empty, np.bool_)


def _texts(column: pa.Array, name: str, path: Path) -> pa.Array:
    try:
        return pc.fill_null(pc.cast(column, pa.string()), "")
    except pa.ArrowException as error:
        raise InputError(f"{path}: column {name!r} holds {column.type}, no text or number") from error
