"""Numbers that several processes put into one pipe, and take from it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.runtime.turns import Turns


def inherited(pipe: Turns) -> Turns:
    """What a process that is started has of the pipe."""
    read, write = os.dup(pipe.to_read), os.dup(pipe.to_write)
    return Turns(read, write)


@pytest.mark.parametrize("count", [0, 3, 1000, 20_000])  # of the last, the pipe has no room for some
def test_alone_a_process_takes_what_it_has_put(count: int) -> None:
    with Turns.begin() as pipe:
        turns = inherited(pipe)
    assert sorted(turns.take(range(count))) == list(range(count))


def test_one_takes_what_all_have_put_while_the_others_take_none() -> None:
    with Turns.begin() as pipe:
        first, second, third = (inherited(pipe) for _ in range(3))
    takes = first.take([0, 3, 6])
    assert [next(takes) for _ in range(3)] == [0, 3, 6]
    left = second.take([1, 4]), third.take([])
    assert list(takes) == [1, 4]
    assert [list(own) for own in left] == [[], []]


@pytest.mark.parametrize("count", [10, 5000, 60_000])
def test_each_number_is_taken_once_and_none_waits_for_ever(count: int) -> None:
    with Turns.begin() as pipe:
        ends = [inherited(pipe) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        taken = threads.map(lambda number: list(ends[number].take(range(number, count, 4))), range(4))
        assert sorted(number for own in taken for number in own) == list(range(count))
