"""Makes batches ahead in a thread, and moves them to a device."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from torch import Tensor

from pipeline.runtime.repeatable import Repeatable

Item = TypeVar("Item")
Key = TypeVar("Key")

ON_HOST = MappingProxyType({"on_host": True})
"""Metadata of a batch's fields that seldom leave the host, so that they are not put into pinned memory."""


def prefetch(make: Callable[[Key], Item], keys: Iterable[Key], depth: int = 3) -> Iterator[Item]:
    """Yield `make(key)` for each key, made up to `depth` ahead by one thread; its exceptions are raised here.

    Where there is a GPU, tensors lie in pinned memory, so that the CPU need not wait for the copy. That is one of the
    GPU's own queue: it waits for the kernels before it, and those after it wait for it.

    Args:
        keys: two threads go through them at the same time, as a range or a `Repeatable` lets them.
    """
    ready: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(item: tuple[Item | None, BaseException | None]) -> None:
        while not stopped.is_set():
            try:
                return ready.put(item, timeout=0.2)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for key in keys:
                if stopped.is_set():
                    return
                put((pinned(make(key)), None))
        except BaseException as error:
            put((None, error))

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        for _ in keys:
            item, error = ready.get()
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        stopped.set()
        thread.join()


def prefetch_groups(load: Callable[[list[str]], Item], groups: Repeatable[list[str]], most: int) -> Iterator[Item]:
    """Yield `load(group)` for each group of at most `most` images, loaded ahead: up to three images, or one group of
    several, whose maps may take gigabytes."""
    return prefetch(load, groups, max(1, 3 // most))


def to_device(value: Any, device: torch.device) -> Any:
    """Move every tensor inside dataclasses, lists and tuples of a batch."""
    return _each_tensor(value, lambda tensor: tensor.to(device, non_blocking=True))


def pinned(value: Any) -> Any:
    """The tensors of a batch in pinned memory if there is a GPU, except for its fields that are `ON_HOST`; else as they
    are."""
    return _each_tensor(value, Tensor.pin_memory, skip=ON_HOST) if torch.cuda.is_available() else value


def _each_tensor(
    value: Any, change: Callable[[Tensor], Tensor], skip: Mapping[str, object] = MappingProxyType({})
) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if is_dataclass(value) and not isinstance(value, type):
        own = [f.name for f in fields(value) if not skip or f.metadata != skip]
        return replace(value, **{name: _each_tensor(getattr(value, name), change, skip) for name in own})
    if type(value) in (list, tuple) and value and not isinstance(value[0], int | float | tuple):
        return type(value)(_each_tensor(item, change, skip) for item in value)
    return value
