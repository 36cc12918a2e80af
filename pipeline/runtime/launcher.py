"""Device, precision, threads and determinism, set in one place; accelerate does the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from pipeline.nn.arithmetic import set_determinism, set_tf32
from pipeline.runtime.device import gpu_or_cpu, has_gpu
from pipeline.runtime.errors import InputError
from pipeline.runtime.memory import keep_freed_memory

if TYPE_CHECKING:
    from pipeline.params.base import Base


def launch(base: Base, trained_pool: str | None = None) -> Accelerator:
    """An accelerator for the device that is found, with the declared precision and threads; `tf32` is float32 on a CPU.

    On a CPU results repeat in any case. On a GPU `base.deterministic` says whether they do: sums are then taken in a
    fixed order, which costs time.

    Args:
        trained_pool: `roi_head.pool` where gradients are to pass through it.

    Raises:
        InputError: a pool that has no deterministic gradient on a GPU, or a GPU that cannot be used.
    """
    check_pool(base.deterministic, trained_pool, has_gpu())
    set_determinism(base.deterministic and has_gpu())
    on_gpu = gpu_or_cpu().type == "cuda"
    # On a CPU the switch would pick other products, none of them TF32.
    set_tf32(base.precision == "tf32" and on_gpu)
    torch.set_num_threads(base.threads)
    keep_freed_memory()
    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(mixed_precision="bf16" if base.precision == "bf16" else "no", cpu=not on_gpu)


def check_pool(deterministic: bool, trained_pool: str | None, on_gpu: bool) -> None:
    """Refuse RoIPool, whose gradients a GPU sums in no fixed order.

    Raises:
        InputError: with what to choose.
    """
    if deterministic and on_gpu and trained_pool == "roi_pool":
        raise InputError(
            "roi_head.pool roi_pool has no deterministic gradient on a GPU; choose roi_head.pool roi_align, or set "
            "base.deterministic to false"
        )
