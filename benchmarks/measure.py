"""Times that can be compared on a machine that others use too, and the rates that floors are computed from.

times = interleaved({"ours": ours, "peer": peer}, runs=5)
floor = flops / measured_rates().bf16
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch


def interleaved(
    contestants: Mapping[str, Callable[[], object]], runs: int = 5, warmup: int = 1, per: float = 1.0
) -> dict[str, list[float]]:
    """Wall seconds of each callable: all are called in turn, `runs` times, so that a slow minute slows all of them.

    Run i of one is to be compared with run i of another, see `ratios`. Every second round goes through them backwards,
    as one that follows another finds its caches. The calls of the first `warmup` rounds are not counted.

    Args:
        contestants: by name. per: what each time is divided by, such as images in a call.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for run in range(warmup + runs):
        for name in list(contestants) if run % 2 == 0 else list(contestants)[::-1]:
            gc.collect()
            started = time.perf_counter()
            contestants[name]()
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


@cache
def measured_rates() -> Rates:
    """Measure the rates; takes some seconds, once in a process. The best of several tries: a floor is a floor."""
    return Rates(_rate(torch.float32), _rate(torch.bfloat16), _bandwidth())


def _rate(dtype: torch.dtype) -> float:
    side = 2048
    draw = torch.Generator().manual_seed(0)
    left, right = (torch.randn(side, side, generator=draw).to(dtype) for _ in range(2))
    # The convolution that VGG16 spends most of its time in: 256 to 256 channels at a quarter of the image's side.
    maps = torch.randn(2, 256, 152, 200, generator=draw).to(dtype).contiguous(memory_format=torch.channels_last)
    layer = torch.nn.Conv2d(256, 256, 3, padding=1, dtype=dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    convolution = 2 * maps.numel() * 256 * 9
    with torch.inference_mode():
        return max(2 * side**3 / _best(lambda: left @ right), convolution / _best(lambda: layer(maps)))


def _bandwidth() -> float:
    source = torch.zeros(1 << 29, dtype=torch.uint8)
    target = torch.zeros_like(source)
    return 2 * source.numel() / _best(lambda: target.copy_(source))


def _best(work: Callable[[], object], runs: int = 7) -> float:
    return min(interleaved({"work": work}, runs)["work"])
