"""Items that are made on demand, and that several can go through."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item", covariant=True)


class Repeatable(Generic[Item]):
    """The items of an iterator, made on demand and kept, so that any number of loops, also of several threads, go
    through all of them. What the iterator raises, each of them raises there."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._source = iter(items)
        self._made: list[Item] = []
        self._end: BaseException | None = None
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Item]:
        place = 0
        while self._has(place):
            yield self._made[place]
            place += 1

    def _has(self, place: int) -> bool:
        """Whether there is an item at a place, which is made here if it is the next one."""
        with self._lock:
            if place < len(self._made):
                return True
            if self._end is None:
                try:
                    self._made.append(next(self._source))
                    return True
                except BaseException as error:
                    self._end = error
            if isinstance(self._end, StopIteration):
                return False
            raise self._end
