"""Processes that make batches, where one thread of the training's own process is not enough for its GPU.

torch's DataLoader runs them. A batch depends on its iteration alone, so that their number changes no result.
"""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from pipeline.feeding.packed import Packed, pack, unpack
from pipeline.feeding.prefetching import prefetch
from pipeline.runtime.errors import ProcessLost, StartedOtherwise
from pipeline.runtime.process_messages import Failed
from pipeline.runtime.stopping import signals_waiting

LOADERS = "FRCNN_LOADERS"
"""Environment variable: how many processes make the batches of a training; by default none, but a thread. It is not a
parameter, since it changes no result."""

Item = TypeVar("Item")


def loader_count() -> int:
    """How many processes the environment asks for.

    Raises:
        StartedOtherwise: it is not a whole number.
    """
    text = os.environ.get(LOADERS, "").strip()
    if text and not text.isdecimal():
        raise StartedOtherwise(f"{LOADERS}={text}: give a whole number, or leave it out for a thread")
    return int(text or 0)


def made_ahead(make: Callable[[int], Item], indices: range, lock: int | None = None) -> Iterator[Item]:
    """Yield `make(i)` for each index, made ahead by a thread, or by as many processes as the environment asks for.

    Args:
        make: is not to use a GPU.
        lock: a descriptor that the processes do not keep open when this one ends.

    Raises:
        ProcessLost: one of them was killed. What `make` raises is raised here.
    """
    count = loader_count()
    return prefetch(make, indices) if count == 0 else _made_by_processes(make, indices, count, lock)


def _made_by_processes(
    make: Callable[[int], Item], indices: range, count: int, lock: int | None
) -> Generator[Item, None, None]:
    # Each is forked, as what makes batches cannot be sent.
    loader = DataLoader(
        _Made(make, indices),
        batch_size=None,
        num_workers=count,
        multiprocessing_context="fork",
        worker_init_fn=partial(_begin, lock),
        generator=torch.Generator(),  # so that it does not draw from the global one
    )
    before = signal.getsignal(signal.SIGCHLD)
    with signals_waiting(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of more processes than cores
        made = iter(loader)
    # Where a process is killed, torch would raise an error anywhere in the main thread; `next(made)` raises it, too.
    signal.signal(signal.SIGCHLD, before)
    try:
        yield from prefetch(lambda _: _received(made), range(len(indices)))
    finally:
        made._shutdown_workers()  # type: ignore[attr-defined]  # else they live until all has forgotten `made`


def _received(made: Iterator[Packed | Failed]) -> Any:
    try:
        found = next(made)
    except RuntimeError as error:
        raise ProcessLost(
            f"one of the processes that make batches was killed, perhaps because memory ran out; run again to resume, "
            f"or lower {LOADERS}"
        ) from error
    if isinstance(found, Failed):
        raise found.exception()
    return unpack(found)


@dataclass(frozen=True)
class _Made(Dataset[Packed | Failed], Generic[Item]):
    make: Callable[[int], Item]
    indices: range

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> Packed | Failed:
        try:
            return pack(self.make(self.indices[place]))
        except Exception as error:
            return Failed.by(error, place)


def _begin(lock: int | None, _: int) -> None:
    """What one of the processes does first."""
    if lock is not None:
        os.close(lock)
    cv2.setNumThreads(0)  # its threads are not there after the fork
    # Ctrl-C in a terminal reaches every process; the training ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
