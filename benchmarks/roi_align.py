"""RoIAlign by products of matrices against torchvision's compiled kernel, on the CPU: python -m benchmarks.roi_align"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.nn.operators import compiled_roi_align
from pipeline.nn.roi_align import roi_align

REPEATS = 15


def seconds(pool: Callable[[], Tensor], weights: Tensor) -> tuple[float, float]:
    """Median seconds of the forward and of the backward pass."""
    forward, backward = [], []
    for _ in range(REPEATS):
        started = time.perf_counter()
        pooled = pool()
        done = time.perf_counter()
        (pooled * weights).sum().backward()
        forward.append(done - started)
        backward.append(time.perf_counter() - done)
    return statistics.median(forward), statistics.median(backward)


def main() -> None:
    torch.set_num_threads(2)
    draw = torch.Generator().manual_seed(0)
    for images, rois_per_image, channels, height, width in ((2, 64, 512, 19, 25), (4, 64, 96, 32, 32)):
        maps = torch.randn(images, channels, height, width, generator=draw)
        maps = maps.contiguous(memory_format=torch.channels_last).requires_grad_()
        count = images * rois_per_image
        corners = torch.rand(count, 2, generator=draw) * 200
        sides = 20 + torch.rand(count, 2, generator=draw) * 150
        index = torch.arange(images).repeat_interleave(rois_per_image)[:, None].float()
        rois = torch.cat([index, corners, corners + sides], dim=1)
        weights = torch.randn(count, channels, 7, 7, generator=draw)
        own = seconds(lambda: roi_align(maps, rois, 1 / 16, 7), weights)  # noqa: B023
        kernel = seconds(lambda: compiled_roi_align(maps, rois, 1 / 16, 7, 2), weights)  # noqa: B023
        times = [f"{forward * 1e3:.0f} + {backward * 1e3:.0f} ms" for forward, backward in (own, kernel)]
        print(
            f"{count} RoIs on {images} maps of {channels} x {height} x {width}, forward + backward: "
            f"products {times[0]}, kernel {times[1]}, {sum(kernel) / sum(own):.1f} times as fast"
        )


if __name__ == "__main__":
    main()
