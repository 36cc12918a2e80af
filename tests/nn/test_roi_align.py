"""RoIAlign by products of matrices against torchvision's compiled kernel."""

from __future__ import annotations

import pytest
import torch

from pipeline.nn.operators import compiled_roi_align
from pipeline.nn.roi_align import roi_align


def maps_and_rois(seed: int, count: int, images: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    maps = torch.randn(images, 6, 19, 25, generator=draw).requires_grad_()
    corners = torch.rand(count, 2, generator=draw) * torch.tensor([420.0, 330.0]) - 15
    sides = torch.exp(torch.rand(count, 2, generator=draw) * 6)
    index = torch.randint(0, images, (count, 1), generator=draw).float()
    return maps, torch.cat([index, corners, corners + sides], dim=1)


@pytest.mark.parametrize("samples", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_compiled_kernel_forward_and_backward_for_rois_in_any_order(seed: int, samples: int) -> None:
    maps, rois = maps_and_rois(seed, 300)
    weights = torch.randn(300, 6, 7, 7, generator=torch.Generator().manual_seed(seed))
    results = []
    for pool in (roi_align, compiled_roi_align):
        pooled = pool(maps, rois, 1 / 16, 7, samples)
        results.append((pooled.detach(), *torch.autograd.grad((pooled * weights).sum(), maps)))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_maps_in_channels_last_layout_pool_alike() -> None:
    maps, rois = maps_and_rois(0, 50)
    last = maps.detach().contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(roi_align(last, rois, 1 / 16, 7), roi_align(maps.detach(), rois, 1 / 16, 7))


def test_no_roi_gives_no_features_and_a_gradient_of_0() -> None:
    maps, rois = maps_and_rois(0, 0)
    pooled = roi_align(maps, rois, 1 / 16, 7)
    assert pooled.shape == (0, 6, 7, 7)
    (gradient,) = torch.autograd.grad(pooled.sum(), maps)
    assert not gradient.any()


def test_products_are_not_rounded_under_autocast() -> None:
    maps, rois = maps_and_rois(1, 40)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = roi_align(maps, rois, 1 / 16, 7)
    assert pooled.dtype == torch.float32
    assert torch.equal(pooled, roi_align(maps, rois, 1 / 16, 7))


def test_counts_of_rois_that_lie_map_after_map_give_the_same_bits() -> None:
    maps, rois = maps_and_rois(3, 300, images=4)
    rois = rois[rois[:, 0] != 1]
    rois = rois[rois[:, 0].argsort(stable=True)]
    counts = torch.bincount(rois[:, 0].long(), minlength=4).tolist()
    assert counts[1] == 0
    assert torch.equal(roi_align(maps, rois, 1 / 16, 7, counts=counts), roi_align(maps, rois, 1 / 16, 7))
