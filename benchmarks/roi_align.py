"""RoIAlign on a CPU in three ways, of one map and of FPN's levels: python -m benchmarks.roi_align

Sums of few cells, products of matrices, and torchvision's compiled kernel. Times are processor time of all threads, so
that other work on the machine lengthens them little; the kernel runs in one thread, sums and products in two.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pipeline.geometry.layout import Level, MapLayout
from pipeline.nn.operators import compiled_roi_align
from pipeline.nn.roi_align import align_by_products
from pipeline.nn.roi_align_sums import align_by_sums
from pipeline.nn.roi_pooling import roi_levels

Pool = Callable[[Tensor, Tensor, float], Tensor]
WAYS: dict[str, Pool] = {
    "sums": lambda maps, rois, scale: align_by_sums(maps, rois, scale, 7, 2, True),
    "kernel": lambda maps, rois, scale: compiled_roi_align(maps, rois, scale, 7, 2, True),
    "products": lambda maps, rois, scale: align_by_products(maps, rois, scale, 7, 2, True),
}


def pooled(pool: Pool, maps: Sequence[Tensor], rois: Tensor, layout: MapLayout) -> list[Tensor]:
    """The RoIs (R, 5) of each level."""
    level = roi_levels(rois[:, 1:], layout.strides)
    return [
        pool(own.float(), rois[level == index], 1 / layout.strides[index])
        for index, own in enumerate(maps)
        if (level == index).any()
    ]


def seconds(work: Callable[[], list[Tensor]], maps: Sequence[Tensor], repeats: int) -> tuple[float, float]:
    """Least processor time of the forward and of the backward pass."""
    forward, backward = [], []
    for _ in range(repeats):
        started = time.process_time()
        found = work()
        done = time.process_time()
        weights = [torch.ones_like(own) for own in found]
        again = time.process_time()
        torch.autograd.grad(found, maps, weights, allow_unused=True)
        forward.append(done - started)
        backward.append(time.process_time() - again)
    return min(forward), min(backward)


def random_rois(count: int, height: int, width: int, draw: torch.Generator) -> Tensor:
    """(count, 5): sides from 16 px to the whole image, as many in each octave, of two images."""
    limit = torch.tensor([width, height])
    side = 16 * torch.exp2(torch.rand(count, 1, generator=draw) * torch.log2(limit.min() / 16))
    sides = (side * torch.exp2(torch.rand(count, 2, generator=draw) - 0.5)).minimum(limit)
    corners = torch.rand(count, 2, generator=draw) * (limit - sides)
    index = torch.arange(2).repeat_interleave(count // 2)[:, None].float()
    return torch.cat([index, corners, corners + sides], dim=1)


def main() -> None:
    """Print a line a size and precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--rois", type=int, default=512)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    pyramid = MapLayout(tuple(Level(stride, 256, round_up=True) for stride in (4, 8, 16, 32)))
    vgg, c4 = MapLayout((Level(16, 512),)), MapLayout((Level(16, 1024, round_up=True),))
    for name, layout in (("FPN", pyramid), ("VGG16", vgg), ("C4", c4)):
        for height, width in ((300, 400), (600, 1000)):
            for dtype in (torch.bfloat16, torch.float32):
                draw = torch.Generator().manual_seed(0)
                maps = [
                    torch.randn(2, level.channels, high, wide, generator=draw)
                    .to(dtype, memory_format=torch.channels_last)
                    .requires_grad_()
                    for level, (high, wide) in zip(layout.levels, layout.sizes(height, width), strict=True)
                ]
                rois = random_rois(arguments.rois, height, width, draw)
                told = []
                for way, pool in WAYS.items():
                    forward, backward = seconds(
                        lambda: pooled(pool, maps, rois, layout),  # noqa: B023
                        maps,
                        arguments.repeats,
                    )
                    told.append(f"{way} {forward * 1e3:.0f} + {backward * 1e3:.0f}")
                print(f"{name}, {height} x {width} px, {str(dtype).removeprefix('torch.')}: {', '.join(told)} ms")


if __name__ == "__main__":
    main()
