"""Device, precision and threads, set in one place; accelerate does the work."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from pipeline.memory import keep_freed_memory
from pipeline.params import Base


def launch(base: Base) -> Accelerator:
    """An accelerator for the device that is found, with the declared precision and threads."""
    torch.set_num_threads(base.threads)
    keep_freed_memory()
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(mixed_precision="bf16" if base.precision == "bf16" else "no", cpu=not torch.cuda.is_available())
