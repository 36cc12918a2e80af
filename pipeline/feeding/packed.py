"""Items of one process handed to another: all their tensors and arrays in one block of shared memory.

torch shares each tensor of its own accord, for which it opens a file and a connection. A batch has dozens, most of them
small.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.runtime.errors import StartedOtherwise, is_disk_full
from pipeline.runtime.variables import LOADERS

_ALIGNED = 64
"""Bytes; no type of a tensor needs more."""


@dataclass(frozen=True)
class Packed:
    """An item as bytes that refer to buffers in shared memory, `block`, (N,) uint8.

    Buffer i is `block[starts[i] : starts[i] + sizes[i]]`.
    """

    content: bytes
    block: Tensor
    starts: list[int]
    sizes: list[int]


def pack(item: object) -> Packed:
    """Pack an item whose tensors lie on the CPU. Values, types, shapes and strides are kept; tensors with gaps or
    overlapping elements become contiguous.

    Raises:
        StartedOtherwise: shared memory is full.
    """
    buffers: list[pickle.PickleBuffer] = []
    file = io.BytesIO()
    _Pickler(file, protocol=5, buffer_callback=buffers.append).dump(item)
    views = [buffer.raw() for buffer in buffers]
    starts, end = [], 0
    for view in views:
        starts.append(end)
        end += -(-view.nbytes // _ALIGNED) * _ALIGNED
    block = torch.empty(0, dtype=torch.uint8).set_(_shared_memory(end))
    shared = block.numpy().data
    for start, view in zip(starts, views, strict=True):
        shared[start : start + view.nbytes] = view
    return Packed(file.getvalue(), block, starts, [view.nbytes for view in views])


def _shared_memory(size: int) -> torch.UntypedStorage:
    try:
        return torch.UntypedStorage._new_shared(size)
    except RuntimeError as error:
        if not is_disk_full(error):
            raise
    # Outside of the except block: an error in its context would be reported as a full disk.
    raise shared_memory_is_full()


def shared_memory_is_full() -> StartedOtherwise:
    """The error to raise."""
    return StartedOtherwise(
        "shared memory, by which processes hand over batches, is full; give /dev/shm more (docker run --shm-size=4g), "
        f"or leave out {LOADERS}"
    )


def unpack(packed: Packed) -> Any:
    """The item; its tensors and arrays lie in the shared memory."""
    shared = packed.block.numpy().data
    buffers = [shared[start : start + size] for start, size in zip(packed.starts, packed.sizes, strict=True)]
    return pickle.loads(packed.content, buffers=buffers)


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: object) -> tuple[Callable[..., Tensor], tuple[object, ...]] | Any:
        if type(value) is not Tensor:
            return NotImplemented
        own = value.detach()
        # A layout without gaps, such as channels_last, is one of ordered dimensions without gaps.
        ordered = own.permute(sorted(range(own.ndim), key=own.stride, reverse=True))
        if not ordered.is_contiguous():
            own = ordered = own.contiguous()
        flat = ordered.reshape(-1)
        if not flat.numel():
            return _empty, (own.dtype, own.size(), own.stride())
        return _tensor, (flat.view(torch.uint8).numpy(), own.dtype, own.size(), own.stride())


def _tensor(content: Any, dtype: torch.dtype, size: torch.Size, stride: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(content).view(dtype).as_strided(size, stride)


def _empty(dtype: torch.dtype, size: torch.Size, stride: tuple[int, ...]) -> Tensor:
    return torch.empty_strided(size, stride, dtype=dtype)
