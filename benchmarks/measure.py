"""Times that can be compared on a machine that others use too, and the rates that floors are computed from.

times = interleaved({"ours": ours, "peer": peer}, runs=5)
floor = flops / measured_rates().bf16
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache

import torch

from pipeline.nn.arithmetic import tf32
from pipeline.runtime.device import gpu_or_cpu


def interleaved(
    contestants: Mapping[str, Callable[[], object]], runs: int = 5, warmup: int = 1, per: float = 1.0
) -> dict[str, list[float]]:
    """Wall seconds of each callable: all are called in turn, `runs` times, so that a slow minute slows all of them.

    Run i of one is to be compared with run i of another, see `ratios`. Every second round goes through them backwards,
    as one that follows another finds its caches. The calls of the first `warmup` rounds are not counted. On a GPU a
    call lasts until that has done what it was asked for.

    Args:
        contestants: by name. per: what each time is divided by, such as images in a call.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for run in range(warmup + runs):
        for name in list(contestants) if run % 2 == 0 else list(contestants)[::-1]:
            gc.collect()
            started = time.perf_counter()
            contestants[name]()
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()
            if run >= warmup:
                times[name].append((time.perf_counter() - started) / per)
    return times


def ratios(ours: Sequence[float], peer: Sequence[float]) -> list[float]:
    """Ours over the peer's, round by round."""
    return [own / other for own, other in zip(ours, peer, strict=True)]


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, least and largest."""
    return statistics.median(values), min(values), max(values)


@dataclass(frozen=True)
class Rates:
    """What this machine does at best with torch's current number of threads.

    Attributes:
        float32, bf16: floating point operations a second, of the better of a large matrix product and a convolution.
        bytes: bytes a second read and written when an array larger than the caches is copied.
    """

    float32: float
    bf16: float
    bytes: float


def measured_rates(device: torch.device | None = None) -> Rates:
    """Measure the rates of a device, of the one that stages find where none is given.

    Takes some seconds, once in a process. The best of several tries: a floor is a floor."""
    return _rates(device or gpu_or_cpu())


@cache
def _rates(device: torch.device) -> Rates:
    return Rates(_rate(torch.float32, device), _rate(torch.bfloat16, device), _bandwidth(device))


def _rate(dtype: torch.dtype, device: torch.device) -> float:
    on_gpu = device.type == "cuda"
    side = 8192 if on_gpu else 2048
    draw = torch.Generator().manual_seed(0)
    left, right = (torch.randn(side, side, generator=draw).to(device, dtype) for _ in range(2))
    # The convolution that VGG16 spends most of its time in: 256 to 256 channels at a quarter of the image's side.
    maps = torch.randn(16 if on_gpu else 2, 256, 152, 200, generator=draw).to(device, dtype)
    maps = maps.contiguous(memory_format=torch.channels_last)
    layer = torch.nn.Conv2d(256, 256, 3, padding=1, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    convolution = 2 * maps.numel() * 256 * 9
    # By itself cuDNN takes TF32 for float32.
    with torch.inference_mode(), tf32(False) if on_gpu else nullcontext():
        return max(2 * side**3 / _best(lambda: left @ right), convolution / _best(lambda: layer(maps)))


def _bandwidth(device: torch.device) -> float:
    source = torch.zeros(1 << (31 if device.type == "cuda" else 29), dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    return 2 * source.numel() / _best(lambda: target.copy_(source))


def _best(work: Callable[[], object], runs: int = 7) -> float:
    return min(interleaved({"work": work}, runs)["work"])
