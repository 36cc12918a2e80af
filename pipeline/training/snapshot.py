"""A copy of tensors in one block of host memory that is kept from copy to copy, laid out as a safetensors file.

A copy into memory that is there takes as long as reading and writing it. Getting a gigabyte from the system takes
several times that, and so does a serialiser that puts tensor after tensor together while no other thread gets on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import accumulate

import torch
from torch import Tensor

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_ALIGNED = 64


class Snapshot:
    """Holds the last copy of some tensors, of the same names, shapes and dtypes each time or of others."""

    def __init__(self) -> None:
        self._block = torch.empty(0, dtype=torch.uint8)
        self._copied: torch.cuda.Event | None = None

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy tensors as they are now. From a GPU they come after what was asked of it before, while the host goes on;
        `content` waits for them."""
        # The widest first, so that each lies at a multiple of its item's size.
        ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
        ends = list(accumulate((tensor.nbytes for _, tensor in ordered), initial=0))
        head = {
            name: {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
            for (name, tensor), start, end in zip(ordered, ends, ends[1:], strict=False)
        }
        text = json.dumps(head, separators=(",", ":")).encode()
        text += b" " * (-(len(text) + 8) % _ALIGNED)
        data = len(text) + 8
        on_gpu = any(tensor.is_cuda for _, tensor in ordered)
        if len(self._block) != data + ends[-1] or self._block.is_pinned() != on_gpu:
            self._block = torch.empty(data + ends[-1], dtype=torch.uint8, pin_memory=on_gpu)
        self._block.numpy().data[:data] = len(text).to_bytes(8, "little") + text
        for (_, tensor), start, end in zip(ordered, ends, ends[1:], strict=False):
            own = self._block[data + start : data + end].view(tensor.dtype).view(tensor.shape)
            own.copy_(tensor, non_blocking=on_gpu)
        self._copied = None
        if on_gpu:
            self._copied = torch.cuda.Event()
            self._copied.record()

    def content(self) -> memoryview:
        """The bytes of a safetensors file; the next copy changes them."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._block.numpy().data
