"""Columns of words of a table, taken block by block: memory holds no more texts than a block has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.datasets.table_numbers import texts_of


class Words:
    """A column of words, each kept once: `words` in the order of their first rows, and their codes.

    Args:
        name: of the column.
        path: of the table.
        trimmed: whether spaces before the words are the separator's.
    """

    def __init__(self, name: str, path: Path, trimmed: bool = False) -> None:
        self.name, self._path, self._trimmed = name, path, trimmed
        self._known: dict[str, int] = {}
        self._codes = bytearray()  # of int32; grows in place, where a list of blocks would leave holes

    def add(self, column: pa.Array) -> None:
        """Take a block's part of the column.

        Raises:
            InputError: it holds neither texts nor numbers.
        """
        texts = texts_of(column, self.name, self._path)
        encoded = (pc.utf8_ltrim_whitespace(texts) if self._trimmed else texts).dictionary_encode()
        own = [self._known.setdefault(word, len(self._known)) for word in encoded.dictionary.to_pylist()]
        self._codes += np.array(own, np.int32)[encoded.indices.to_numpy(zero_copy_only=False)].tobytes()

    @property
    def words(self) -> list[str]:
        """Each word once."""
        return list(self._known)

    def codes(self) -> npt.NDArray[np.int32]:
        """(N,) index of each row's word in `words`."""
        return np.frombuffer(self._codes, np.int32)
