"""Steps run in a thread: in their order, none after one that failed, and no more held in memory than is allowed."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts.behind import Behind
from pipeline.artifacts.chunks import ChunkedWork


@pytest.fixture
def behind() -> Iterator[Behind]:
    made = Behind(most_bytes=10)
    yield made
    made.close()


def wait_for(event: threading.Event) -> None:
    event.wait()


def test_steps_run_in_their_order_in_one_other_thread(behind: Behind) -> None:
    ran: list[tuple[int, int]] = []
    for number in range(50):
        behind.run(lambda number=number: ran.append((number, threading.get_ident())))  # type: ignore[misc]
    behind.wait()
    assert [number for number, _ in ran] == list(range(50))
    assert len({thread for _, thread in ran}) == 1
    assert ran[0][1] != threading.get_ident()


def test_what_a_step_raises_is_raised_and_no_later_step_runs(behind: Behind) -> None:
    may_fail, ran = threading.Event(), []

    def fail() -> None:
        may_fail.wait()
        raise OSError(28, "No space left on device")

    behind.run(fail)
    behind.run(lambda: ran.append("after"))
    may_fail.set()
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            behind.wait()
    with pytest.raises(OSError, match="No space left"):
        behind.run(lambda: ran.append("later"))
    behind.close()
    assert ran == []


def test_a_step_waits_while_those_before_it_hold_too_much(monkeypatch: pytest.MonkeyPatch, behind: Behind) -> None:
    may_run, wait = threading.Event(), behind._wait_for_first

    def wait_noted() -> None:
        may_run.set()
        wait()

    monkeypatch.setattr(behind, "_wait_for_first", wait_noted)
    try:
        for held in (6, 4):
            behind.run(partial(wait_for, may_run), held)
            assert not may_run.is_set()
        behind.run(partial(wait_for, may_run), 1)
        assert may_run.is_set()
    finally:
        may_run.set()


def test_one_step_may_hold_more_than_all_may(behind: Behind) -> None:
    ran = []
    behind.run(lambda: ran.append(1), 1000)
    behind.run(lambda: ran.append(2), 1000)
    behind.wait()
    assert ran == [1, 2]


def test_closed_runs_what_is_left(behind: Behind) -> None:
    may_run, ran = threading.Event(), []
    behind.run(partial(wait_for, may_run))
    behind.run(lambda: ran.append("left"))
    may_run.set()
    behind.close()
    assert ran == ["left"]


def test_arrays_of_a_shard_are_not_kept_until_its_chunk_ends(tmp_path: Path) -> None:
    ids = [f"{number:02d}" for number in range(16)]
    alive: list[weakref.ref[np.ndarray]] = []
    with ChunkedWork(tmp_path, ids) as work:
        shards = work.shards("maps")
        for image_id in work.through(work.missing):
            array = np.zeros(1 << 17)  # 1 MiB; smaller ones are written together
            alive.append(weakref.ref(array))
            shards.add({image_id: array})
            del array
            work._behind.run(lambda: None)  # when it runs, the thread has forgotten the step before it
            work._behind.wait()
            assert [ref() for ref in alive] == [None] * len(alive)
    assert [path.name for path in tmp_path.iterdir()] == ["maps-00000.npz"]


def test_an_error_leaves_nothing_of_a_shard_that_is_not_complete(tmp_path: Path) -> None:
    ids = ["a", "b", "c"]
    with pytest.raises(MemoryError), ChunkedWork(tmp_path, ids, images_per_chunk=2) as work:
        shards = work.shards("maps")
        for image_id in work.through(work.missing):
            shards.add({image_id: np.zeros(3)})
            if image_id == "c":
                raise MemoryError
    assert sorted(path.name for path in tmp_path.iterdir()) == [".unfinished", "maps-00000.npz"]
