"""The arithmetic of a GPU: float32 or TF32 products, and sums in a fixed order. Needs only torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


def full_float32() -> None:
    """Turn TF32 off, which keeps only 10 of the 23 bits of a factor's mantissa."""
    set_tf32(False)


def set_tf32(wanted: bool) -> None:
    """Let a GPU round the factors of float32 products to TF32, sums staying float32, or not. Only for a GPU."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = wanted


@contextmanager
def tf32(wanted: bool) -> Iterator[None]:
    """Apply `set_tf32` inside, and restore the caller's setting afterwards.

    By torch's newer switches: the older ones cannot be read where somebody used the newer, and some of what they were
    set to cannot be read from them.
    """
    switches: list[Any] = [torch.backends.cuda.matmul, torch.backends.cudnn.conv]  # type: ignore[attr-defined]
    before = [switch.fp32_precision for switch in switches]
    try:
        for switch in switches:
            switch.fp32_precision = "tf32" if wanted else "ieee"
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.fp32_precision = value


def set_determinism(wanted: bool) -> None:
    """Have a GPU sum in a fixed order, or in any order; call this before its first use.

    What has no fixed order then raises RuntimeError, such as RoIPool's gradient. Pooling by 2 x 2 needs none: its
    windows do not overlap, so that no gradient is a sum.
    """
    if wanted:
        # cuBLAS reads it when it starts; one workspace of a fixed size makes it split its sums in one way.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(wanted)
    # Memory is not read before it is written here, and filling it would cost a pass over all of it.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.deterministic = wanted
    torch.backends.cudnn.benchmark = False
