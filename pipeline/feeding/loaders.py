"""Processes that make batches, where one thread of the training's own process is not enough for its GPU.

torch's DataLoader runs them. A batch depends on its iteration alone, so that their number changes no result.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter as _Iterator

from pipeline.feeding.packed import Packed, pack, shared_memory_is_full, unpack
from pipeline.feeding.prefetching import prefetch
from pipeline.runtime.errors import ProcessLost, StartedOtherwise, is_disk_full
from pipeline.runtime.process_messages import Failed
from pipeline.runtime.stopping import signals_waiting
from pipeline.runtime.variables import LOADERS, loader_count

_PR_SET_PDEATHSIG = 1  # of prctl(2)

Item = TypeVar("Item")


def made_ahead(make: Callable[[int], Item], indices: range, lock: int | None = None) -> Iterator[Item]:
    """Yield `make(i)` for each index, made ahead by a thread, or by as many processes as the environment asks for.

    Args:
        make: must not use a GPU.
        lock: a descriptor that the processes do not keep open when this one ends.

    Raises:
        ProcessLost: one of them was killed. What `make` raises is raised here.
        StartedOtherwise: shared memory is full.
    """
    count = loader_count()
    return prefetch(make, indices) if count == 0 else _made_by_processes(make, indices, count, lock)


def _made_by_processes(
    make: Callable[[int], Item], indices: range, count: int, lock: int | None
) -> Generator[Item, None, None]:
    # Each is forked, because `make` cannot be pickled.
    loader = DataLoader(
        _Made(make, indices),
        batch_size=None,
        num_workers=count,
        multiprocessing_context="fork",
        worker_init_fn=partial(_begin, os.getpid(), lock),
        generator=torch.Generator(),  # so that it does not draw from the global one
    )
    made = _started(loader)
    processes: list[BaseProcess] = made._workers
    try:
        yield from prefetch(lambda _: _received(made, processes), range(len(indices)))
    finally:
        made._shutdown_workers()
        for process in processes:
            process.kill()  # if it has not ended by now
            process.join()


def _started(loader: DataLoader[Any]) -> Any:
    """The loader's iterator, whose processes have been started.

    Raises:
        StartedOtherwise: they cannot be started; none is left.
    """
    # What iter(loader) makes, in two steps, as one that fails halfway is to be reached here.
    made: Any = object.__new__(_Iterator)
    before = set(multiprocessing.active_children())
    try:
        with signals_waiting(), _same_sigchld_handler(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of more processes than cores
            made.__init__(loader)
        return made
    except (OSError, RuntimeError) as error:
        made._shutdown = True  # else its destructor would wait for processes that it does not have
        full, why = is_disk_full(error), str(error)  # semaphores are made in shared memory
        for process in set(multiprocessing.active_children()) - before:
            process.kill()
            process.join()
    raise (
        shared_memory_is_full()
        if full
        else StartedOtherwise(f"processes that make batches cannot be started ({why}); lower {LOADERS}")
    )


@contextmanager
def _same_sigchld_handler() -> Iterator[None]:
    """With torch's own, an error would be raised anywhere in the main thread when a process is killed. `_received`
    detects that instead."""
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


def _received(made: Iterator[Packed | Failed], processes: list[BaseProcess]) -> Any:
    try:
        found = next(made)
    except (RuntimeError, OSError, EOFError) as error:  # also of the connection by which memory is shared
        for process in processes:
            process.join(0.2)
        if all(process.is_alive() for process in processes):
            raise
        raise ProcessLost(
            "one of the processes that make batches was killed, perhaps because memory ran out; run again to resume, "
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


def _begin(training: int, lock: int | None, _: int) -> None:
    """What one of the processes does first."""
    # Signals to the whole group are the training's, which ends this one after its iteration.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    if sys.platform == "linux":
        # What the training holds on a GPU is free only when no process has its files open.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != training:
            os._exit(1)
    if lock is not None:
        os.close(lock)
    if cv2 := sys.modules.get("cv2"):
        cv2.setNumThreads(0)  # its threads are not there after the fork
