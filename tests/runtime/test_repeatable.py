"""Items that are made on demand, and kept."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.runtime.repeatable import Repeatable


def test_items_are_made_on_demand_once_for_all_loops() -> None:
    made: list[int] = []

    def make() -> Iterator[int]:
        for item in range(4):
            made.append(item)
            yield item

    items = Repeatable(make())
    assert made == []
    first, second = iter(items), iter(items)
    assert [next(first), next(second), next(first)] == [0, 0, 1] and made == [0, 1]
    assert list(second) == [1, 2, 3] and list(first) == [2, 3] and list(items) == [0, 1, 2, 3] == made


def test_every_loop_raises_what_was_raised_where_it_was() -> None:
    def make() -> Iterator[int]:
        yield 1
        raise OSError("the second")

    items = Repeatable(make())
    for _ in range(2):
        loop = iter(items)
        assert next(loop) == 1
        with pytest.raises(OSError, match="the second"):
            next(loop)


def test_threads_get_all_items_in_their_order() -> None:
    items, begin = Repeatable(iter(range(2000))), threading.Barrier(4)

    def go_through() -> list[int]:
        begin.wait()
        return list(items)

    with ThreadPoolExecutor(4) as threads:
        found = [threads.submit(go_through) for _ in range(4)]
    assert all(own.result() == list(range(2000)) for own in found)
