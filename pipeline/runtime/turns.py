"""Which process of a stage does which chunk: each takes the number of its next one from a pipe that all share.

So one that is slower than the others, on a busy core or a slower disk, does fewer chunks, and all end at about the same
time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_SIZE = 4  # bytes of a number
_AT_ONCE = 128  # numbers: POSIX guarantees that writes of up to 512 bytes are atomic


@dataclass(frozen=True)
class Turns:
    """The descriptors of a pipe's ends. Every process that has them calls `take`, or closes them."""

    to_read: int
    to_write: int

    @classmethod
    @contextmanager
    def begin(cls) -> Iterator[Turns]:
        """A new pipe, to be inherited by the processes that are started meanwhile."""
        turns = cls(*os.pipe())
        try:
            os.set_blocking(turns.to_write, False)
            yield turns
        finally:
            os.close(turns.to_read)
            os.close(turns.to_write)

    def take(self, numbers: Iterable[int]) -> Iterator[int]:
        """Put numbers into the pipe now, then take one at a time, whoever put it there, until every process has put its
        own and all are taken."""
        kept = self._put(list(numbers))
        os.close(self.to_write)
        return self._taken(kept)

    def _put(self, numbers: list[int]) -> list[int]:
        """Write what the pipe has room for, 16,384 numbers on Linux; the others are returned."""
        for start in range(0, len(numbers), _AT_ONCE):
            some = numbers[start : start + _AT_ONCE]
            try:
                os.write(self.to_write, b"".join(number.to_bytes(_SIZE, "little") for number in some))
            except BlockingIOError:
                return numbers[start:]
        return []

    def _taken(self, kept: list[int]) -> Iterator[int]:
        yield from kept
        while read := os.read(self.to_read, _SIZE):
            yield int.from_bytes(read, "little")
        os.close(self.to_read)
