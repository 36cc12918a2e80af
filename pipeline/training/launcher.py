"""Device, precision and threads, set in one place; accelerate does the work."""

from __future__ import annotations

from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from pipeline.memory import keep_freed_memory
from pipeline.params import Base

Module = TypeVar("Module", bound=torch.nn.Module)


def launch(base: Base) -> Accelerator:
    """An accelerator for the device that is found, with the declared precision and threads."""
    torch.set_num_threads(base.threads)
    keep_freed_memory()
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(mixed_precision="bf16" if base.precision == "bf16" else "no", cpu=not torch.cuda.is_available())


def for_inference(module: Module, accelerator: Accelerator) -> Module:
    """The module on its device, where nothing is to be trained.

    Under bf16, autocast would round the weights of every layer anew for every image; they are rounded once, in place.
    """
    if accelerator.mixed_precision == "bf16":
        for layer in module.modules():
            if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
                layer.to(torch.bfloat16)
    return module.to(accelerator.device)
