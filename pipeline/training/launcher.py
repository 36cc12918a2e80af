"""Device, precision and threads, set in one place; accelerate does the work."""

from __future__ import annotations

import ctypes

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from pipeline.params import Base

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def launch(base: Base) -> Accelerator:
    """An accelerator for the device that is found, with the declared precision and threads."""
    torch.set_num_threads(base.threads)
    _keep_freed_memory()
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(mixed_precision="bf16" if base.precision == "bf16" else "no", cpu=not torch.cuda.is_available())


def _keep_freed_memory() -> None:
    """Have malloc reuse large blocks instead of returning them to the kernel.

    Every activation of a batch is a large block; getting each anew costs more in page faults than small convolutions
    take to compute (a tiny trunk's forward pass ran 4 times as long). Where there is no glibc, nothing changes.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
    except (OSError, AttributeError):
        pass
