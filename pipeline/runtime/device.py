"""The device that networks run on: a GPU if there is one. A GPU that cannot be used is never ignored silently.

Needs torch alone.
"""

from __future__ import annotations

import os
import warnings

import torch

from pipeline.runtime.errors import InputError, StartedOtherwise, is_out_of_memory
from pipeline.runtime.gpus import is_gpu_meant

HIDE_IT = "set CUDA_VISIBLE_DEVICES= (to nothing) to compute on the CPU on purpose"


def has_gpu() -> bool:
    """Whether torch finds a GPU; without the warning that it prints if it cannot use one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.cuda.is_available()


def gpu_or_cpu(otherwise: str = HIDE_IT) -> torch.device:
    """A GPU that has computed a sum just now, or the CPU where the machine has none or is asked to go without.

    Args:
        otherwise: what to do where the CPU will do, for the message.

    Raises:
        InputError: there is a GPU that torch cannot use; names torch's reason.
    """
    if not has_gpu():
        if is_gpu_meant():
            raise InputError(f"this machine has a GPU, but torch cannot use it: {_why()}; fix that, or {otherwise}")
        return torch.device("cpu")
    try:
        torch.ones(2, device="cuda").sum().item()
    except (RuntimeError, AssertionError) as error:
        if is_out_of_memory(error):
            raise
        raise InputError(f"torch cannot use the GPU: {_first_sentence(error)}; fix that, or {otherwise}") from error
    return torch.device("cuda")


def gpu_model() -> str:
    """Name of the GPU and versions of what computes on it, `cpu` where none is used: what results depend on."""
    if not has_gpu():
        return "cpu"
    try:
        name = torch.cuda.get_device_name()
    except (RuntimeError, AssertionError) as error:  # computing on it will report the cause
        name = _first_sentence(error)
    return f"{name}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"


def gpus_of_one_kind(most: int) -> list[str]:
    """The first GPUs that are visible, at most so many, by the names that CUDA_VISIBLE_DEVICES takes.

    Raises:
        StartedOtherwise: they are of several models, whose results differ.
    """
    if not has_gpu():
        return []
    count = min(most, torch.cuda.device_count())
    try:
        models = sorted({torch.cuda.get_device_name(index) for index in range(count)})
    except (RuntimeError, AssertionError):  # computing on it will report the cause
        return []
    if len(models) > 1:
        raise StartedOtherwise(
            f"the GPUs are of several models ({', '.join(models)}), whose results differ; name those of one in "
            "CUDA_VISIBLE_DEVICES"
        )
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(index) for index in range(count)]
    return [name.strip() for name in names[:count]]


def _why() -> str:
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return _first_sentence(error)
    return "it finds none"


def _first_sentence(error: BaseException) -> str:
    return " ".join(str(error).split()).partition(". ")[0].rstrip(".")[:200]
