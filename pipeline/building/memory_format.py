"""The memory layout of convolution weights."""

from __future__ import annotations

from typing import TypeVar

import torch

Module = TypeVar("Module", bound=torch.nn.Module)


def channels_last(module: Module) -> Module:
    """The module in evaluation mode, its weights laid out for fast convolutions."""
    return module.eval().to(memory_format=torch.channels_last)
