"""Prepares a network for inference."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from accelerate import Accelerator

Module = TypeVar("Module", bound=torch.nn.Module)


def for_inference(module: Module, accelerator: Accelerator) -> Module:
    """The module on its device, ready for inference.

    Under bf16, autocast would round the weights of every layer anew for every image; they are rounded once, in place.
    Not those of a convolution without bias: its frozen norm is multiplied into them, and the product is rounded.
    """
    if accelerator.mixed_precision == "bf16":
        for layer in module.modules():
            if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear) and layer.bias is not None:
                layer.to(torch.bfloat16)
    return module.to(accelerator.device)
