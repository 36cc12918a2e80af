"""A copy of tensors in one block of host memory that is kept from copy to copy, laid out as a safetensors file.

A copy into memory that is there takes as long as reading and writing it. Getting a gigabyte from the system takes
several times that, and so does a serialiser that puts tensor after tensor together while no other thread gets on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
        self._on_gpu: Tensor | None = None
        self._copied: torch.cuda.Event | None = None

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy tensors as they are now.

        From a GPU they are copied into its own memory first, which takes a thousandth of the time that pinned memory
        takes to get, and `content` brings them to the host. Where the GPU has no room, this waits for the host's copy.
        """
        # The widest first, so that each lies at a multiple of its item's size.
        ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
        ends = list(accumulate((tensor.nbytes for _, tensor in ordered), initial=0))
        head = {
            name: {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
            for (name, tensor), start, end in zip(ordered, ends, ends[1:], strict=False)
        }
        text = json.dumps(head, separators=(",", ":")).encode()
        text += b" " * (-(len(text) + 8) % _ALIGNED)
        data, values = len(text) + 8, [tensor for _, tensor in ordered]
        if len(self._block) != data + ends[-1]:
            self._block = torch.empty(data + ends[-1], dtype=torch.uint8)
        self._block[:data].numpy().data[:] = len(text).to_bytes(8, "little") + text
        gpus = {tensor.device for tensor in values if tensor.is_cuda}
        self._on_gpu = _together(values, ends, gpus.pop()) if len(gpus) == 1 else None
        if self._on_gpu is None:
            _copy(values, self._block[data:], ends)
        else:
            self._copied = torch.cuda.Event()
            self._copied.record()

    def content(self) -> memoryview:
        """The bytes of a safetensors file; the next copy changes them."""
        if self._on_gpu is not None and self._copied is not None:
            # By a queue of its own: training's kernels are not to wait for it.
            with torch.cuda.stream(torch.cuda.Stream(self._on_gpu.device)):
                self._copied.wait()
                self._block[-len(self._on_gpu) :].copy_(self._on_gpu)
            self._on_gpu = None
        return self._block.numpy().data


def _together(tensors: Sequence[Tensor], ends: Sequence[int], device: torch.device) -> Tensor | None:
    """A copy of all of them in one block of the GPU's memory; None where it has no room."""
    # Of what torch has set aside itself training takes again in its next iteration.
    if torch.cuda.mem_get_info(device)[0] < ends[-1]:
        return None
    try:
        block = torch.empty(ends[-1], dtype=torch.uint8, device=device)
    except torch.OutOfMemoryError:
        return None
    _copy(tensors, block, ends)
    return block


def _copy(tensors: Sequence[Tensor], block: Tensor, ends: Sequence[int]) -> None:
    for tensor, start, end in zip(tensors, ends, ends[1:], strict=False):
        block[start:end].view(tensor.dtype).view(tensor.shape).copy_(tensor)
