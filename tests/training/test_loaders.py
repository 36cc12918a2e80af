"""Batches made by processes: the same as a thread makes, in order; what goes wrong in them ends in one line."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.context import ForkProcess
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from pipeline.feeding.loaders import made_ahead
from pipeline.feeding.packed import pack, unpack
from pipeline.runtime.errors import InputError, ProcessLost, StartedOtherwise
from pipeline.runtime.locking import try_lock
from pipeline.runtime.variables import LOADERS

TYPES = (torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool)


@dataclass(frozen=True)
class Item:
    name: str
    tensors: list[Tensor]
    array: np.ndarray
    nothing: None = None


def assert_same(found: Tensor, expected: Tensor) -> None:
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert torch.equal(found, expected)


class TestPacked:
    @settings(deadline=None)
    @given(
        sizes=st.lists(st.integers(0, 4), max_size=4),
        order=st.permutations(range(4)),
        dtype=st.sampled_from(TYPES),
    )
    def test_a_layout_without_gaps_is_kept(self, sizes: list[int], order: list[int], dtype: torch.dtype) -> None:
        stored = torch.randint(0, 2, sizes).to(dtype)
        tensor = stored.permute([place for place in order if place < len(sizes)])
        (found,) = unpack(pack([tensor]))
        assert_same(found, tensor)
        assert found.stride() == tensor.stride()

    @pytest.mark.parametrize(
        "tensor",
        [torch.arange(3.0).expand(4, 3), torch.arange(12)[::2], torch.ones(2, 3, 4)[:, 1], torch.ones(3)[1:2]],
        ids=["expanded", "every other", "cut", "one of three"],
    )
    def test_other_layouts_are_stored_without_gaps(self, tensor: Tensor) -> None:
        packed = pack(tensor)
        assert_same(unpack(packed), tensor)
        assert sum(packed.sizes) == tensor.numel() * tensor.element_size()

    def test_an_item_shares_one_block_and_is_writable(self) -> None:
        item = Item("a", [torch.arange(5), torch.ones(2, 3), torch.empty(0, 4)], np.arange(6.0).reshape(2, 3))
        packed = pack(item)
        assert packed.block.is_shared()
        found = unpack(packed)
        assert (found.name, found.nothing) == ("a", None)
        for own, expected in zip(found.tensors, item.tensors, strict=True):
            assert_same(own, expected)
        assert np.array_equal(found.array, item.array)
        found.tensors[1] += 1
        assert torch.equal(unpack(packed).tensors[1], torch.full((2, 3), 2.0))


@pytest.fixture(params=["", "1", "2"])
def count(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many processes make batches; 0 is a thread."""
    monkeypatch.setenv(LOADERS, request.param)
    return int(request.param or 0)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LOADERS, "2")


def test_in_their_order(count: int) -> None:
    made = list(made_ahead(lambda index: (index, torch.full((3,), index), os.getpid()), range(5, 25)))
    assert [index for index, _, _ in made] == list(range(5, 25))
    assert all(torch.equal(tensor, torch.full((3,), index)) for index, tensor, _ in made)
    assert len({process for _, _, process in made}) == max(count, 1)
    assert (os.getpid() in {process for _, _, process in made}) == (count == 0)
    assert list(made_ahead(lambda index: index, range(0))) == []


def test_the_global_generator_is_left_alone(two: None) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    list(made_ahead(lambda index: index, range(3)))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(InputError("a.jpg: cannot be decoded; remove it"), InputError), (OSError(28, "No space"), OSError)],
)
def test_what_a_batch_raises_is_raised(count: int, error: Exception, kind: type[Exception]) -> None:
    def make(index: int) -> int:
        if index == 3:
            raise error
        return index

    items = made_ahead(make, range(9))
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(kind) as raised:
        next(items)
    assert str(raised.value) == str(error)


def test_full_shared_memory(monkeypatch: pytest.MonkeyPatch, two: None) -> None:
    def full(size: int) -> None:
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    monkeypatch.setattr(torch.UntypedStorage, "_new_shared", full)
    with pytest.raises(StartedOtherwise, match=r"^shared memory, .* give /dev/shm more .* or leave out FRCNN_LOADERS$"):
        list(made_ahead(lambda index: index, range(3)))


def test_one_that_is_killed(monkeypatch: pytest.MonkeyPatch, two: None) -> None:
    look = _MultiProcessingDataLoaderIter._try_get_data
    monkeypatch.setattr(look, "__defaults__", (0.05,))  # seconds between looks at whether they live

    def make(index: int) -> Tensor:
        if index == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.ones(5)

    before = signal.getsignal(signal.SIGCHLD)
    with pytest.raises(ProcessLost, match=f"was killed, .* run again to resume, or lower {LOADERS}"):
        list(made_ahead(make, range(9)))
    assert signal.getsignal(signal.SIGCHLD) is before
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("error", [ConnectionResetError(), EOFError(), RuntimeError("unable to mmap")])
def test_the_connection_to_one_that_is_killed_breaks(
    monkeypatch: pytest.MonkeyPatch, two: None, error: Exception
) -> None:
    """A batch that one has made is fetched from it."""

    def unreachable(self: _MultiProcessingDataLoaderIter) -> None:
        self._workers[0].kill()
        self._workers[0].join()
        raise error

    monkeypatch.setattr(_MultiProcessingDataLoaderIter, "__next__", unreachable)
    with pytest.raises(ProcessLost, match="was killed"):
        list(made_ahead(lambda index: index, range(9)))


def test_other_errors_of_torch_are_raised_as_they_are(monkeypatch: pytest.MonkeyPatch, two: None) -> None:
    def failing(self: _MultiProcessingDataLoaderIter) -> None:
        raise RuntimeError("Too many open files")

    monkeypatch.setattr(_MultiProcessingDataLoaderIter, "__next__", failing)
    with pytest.raises(RuntimeError, match="Too many open files"):
        list(made_ahead(lambda index: index, range(9)))
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device"), r"^shared memory, .* is full; give /dev/shm more"),
        (BlockingIOError(11, "Resource temporarily unavailable"), rf"cannot be started \(.*\); lower {LOADERS}$"),
    ],
)
@pytest.mark.parametrize("started", [0, 1])
def test_one_that_cannot_be_started(
    monkeypatch: pytest.MonkeyPatch, two: None, error: OSError, line: str, started: int
) -> None:
    start, left = ForkProcess._Popen, [None] * started

    def fail_at_last(process: ForkProcess) -> object:
        if not left:
            raise error
        left.pop()
        return start(process)

    monkeypatch.setattr(ForkProcess, "_Popen", staticmethod(fail_at_last))
    before = signal.getsignal(signal.SIGCHLD)
    with pytest.raises(StartedOtherwise, match=line):
        list(made_ahead(lambda index: index, range(9)))
    assert multiprocessing.active_children() == []
    assert signal.getsignal(signal.SIGCHLD) is before


def closed(items: Iterator[object]) -> None:
    items.close()  # type: ignore[attr-defined]


def ended(items: Iterator[object]) -> None:
    list(items)


@pytest.mark.parametrize("end", [closed, ended])
def test_they_end_with_the_training(two: None, end: Callable[[Iterator[object]], None]) -> None:
    items = made_ahead(lambda index: index, range(50))
    next(items)
    assert len(multiprocessing.active_children()) == 2
    end(items)
    assert multiprocessing.active_children() == []


def test_they_do_not_hold_the_lock_of_the_folder(tmp_path: Path, two: None) -> None:
    """A training that is killed can be run again at once, though they take seconds to notice it."""
    held = try_lock(os.open(tmp_path, os.O_RDONLY))
    assert held is not None
    items = made_ahead(lambda index: index, range(50), held)
    for _ in range(2):  # one of each
        next(items)
    os.close(held)
    again = try_lock(os.open(tmp_path, os.O_RDONLY))
    closed(items)
    assert again is not None
    os.close(again)


def test_signals_to_all_processes_are_the_trainings(two: None) -> None:
    """Ctrl-C and SIGTERM may reach all of them; the training then ends after its iteration, which needs its batch."""

    def make(index: int) -> int:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        return index

    assert list(made_ahead(make, range(4))) == list(range(4))


def test_one_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch, two: None) -> None:
    monkeypatch.setattr(_MultiProcessingDataLoaderIter, "_shutdown_workers", lambda self: None)
    items = made_ahead(lambda index: index, range(50))
    next(items)
    closed(items)
    assert multiprocessing.active_children() == []


def test_they_end_at_once_when_the_training_is_killed(two: None) -> None:
    """Those that wait for something to do would notice it within seconds; these are at work."""
    ours, theirs = os.pipe()

    def make(index: int) -> int:
        os.write(theirs, f"{os.getpid()} ".encode())
        while True:
            signal.pause()

    training = os.fork()
    if not training:
        with suppress(BaseException):
            list(made_ahead(make, range(50)))
        os._exit(1)
    os.close(theirs)
    loaders: set[psutil.Process] = set()
    while len(loaders) < 2 and (word := os.read(ours, 100)):
        loaders |= {psutil.Process(int(number)) for number in word.split()}
    os.kill(training, signal.SIGKILL)
    os.waitpid(training, 0)
    assert len(loaders) == 2
    assert psutil.wait_procs(loaders, timeout=60)[1] == []
    os.close(ours)


@pytest.mark.parametrize("given_count", ["-1", "two", "1.5"])
def test_invalid_count(monkeypatch: pytest.MonkeyPatch, given_count: str) -> None:
    monkeypatch.setenv(LOADERS, given_count)
    with pytest.raises(
        StartedOtherwise, match=f"{LOADERS}={given_count}: give a whole number from 0 to 512, or leave it out"
    ):
        made_ahead(lambda index: index, range(1))
