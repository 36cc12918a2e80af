"""RoIAlign by sums of cells and by products of matrices against torchvision's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torchvision.ops
from torch import Tensor

from pipeline.nn import roi_align as module
from pipeline.nn.roi_align import align_by_products, roi_align
from pipeline.nn.roi_align_sums import align_by_sums

WAYS: dict[str, Callable[..., Tensor]] = {"sums": align_by_sums, "products": align_by_products}


def maps_and_rois(seed: int, count: int, images: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """RoIs from half a cell to beyond all edges of the maps; the first without a height, or without any extent."""
    draw = torch.Generator().manual_seed(seed)
    maps = torch.randn(images, 6, 19, 25, generator=draw).requires_grad_()
    corners = torch.rand(count, 2, generator=draw) * torch.tensor([420.0, 330.0]) - 15
    sides = torch.exp(torch.rand(count, 2, generator=draw) * 6)
    sides[:2, 1], sides[:1, 0] = 0, 0
    index = torch.randint(0, images, (count, 1), generator=draw).float()
    return maps, torch.cat([index, corners, corners + sides], dim=1)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("samples", [0, 1, 2, 3])
@pytest.mark.parametrize(("scale", "size"), [(1 / 16, 7), (1 / 4, 7), (1 / 16, 14)])
def test_it_is_torchvisions_forward_and_backward_for_rois_in_any_order(
    way: str, aligned: bool, samples: int, scale: float, size: int
) -> None:
    """Also of 0, 1 and 3 samples, without alignment, and of RoIs far beyond a map of stride 4."""
    maps, rois = maps_and_rois(size + samples, 300)
    weights = torch.randn(300, 6, size, size, generator=torch.Generator().manual_seed(samples))
    ours = WAYS[way](maps, rois, scale, size, samples, aligned)
    theirs = torchvision.ops.roi_align(maps, rois, size, scale, samples, aligned)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    gradients = [torch.autograd.grad((pooled * weights).sum(), maps) for pooled in (ours, theirs)]
    assert gradients[1][0].any()
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-3)


def test_maps_in_channels_last_layout_pool_alike() -> None:
    maps, rois = maps_and_rois(0, 50)
    last = maps.detach().contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(roi_align(last, rois, 1 / 16, 7), roi_align(maps.detach(), rois, 1 / 16, 7))


@pytest.mark.parametrize("counts", [None, [0, 0]])
def test_no_roi_gives_no_features_and_a_gradient_of_0(counts: list[int] | None) -> None:
    maps, rois = maps_and_rois(0, 2)
    pooled = roi_align(maps, rois[:0], 1 / 16, 7, counts=counts)
    assert pooled.shape == (0, 6, 7, 7)
    (gradient,) = torch.autograd.grad(pooled.sum(), maps)
    assert not gradient.any()


@pytest.mark.parametrize("counts", [None, [20, 20]])
def test_nothing_is_rounded_under_autocast(counts: list[int] | None) -> None:
    maps, rois = maps_and_rois(1, 40)
    rois = rois[rois[:, 0].argsort(stable=True)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = roi_align(maps, rois, 1 / 16, 7, counts=counts)
    assert pooled.dtype == torch.float32
    assert torch.equal(pooled, roi_align(maps, rois, 1 / 16, 7, counts=counts))


def test_counts_of_rois_that_lie_map_after_map_give_the_same_bits() -> None:
    maps, rois = maps_and_rois(3, 300, images=4)
    rois = rois[rois[:, 0] != 1]
    rois = rois[rois[:, 0].argsort(stable=True)]
    counts = torch.bincount(rois[:, 0].long(), minlength=4).tolist()
    assert counts[1] == 0
    pooled = partial(align_by_products, maps, rois, 1 / 16, 7, 2, True)
    assert torch.equal(pooled(counts=counts), pooled())


@pytest.mark.parametrize("threads", [1, 3])
def test_sums_have_the_same_bits_on_any_number_of_threads_forward_and_backward(threads: int) -> None:
    maps, rois = maps_and_rois(4, 200)

    def bits() -> list[Tensor]:
        pooled = align_by_sums(maps, rois, 1 / 4, 7, 2, True)
        return [pooled, *torch.autograd.grad(pooled.square().sum(), maps)]

    before, expected = torch.get_num_threads(), bits()
    try:
        torch.set_num_threads(threads)
        assert all(torch.equal(*pair) for pair in zip(bits(), expected, strict=True))
    finally:
        torch.set_num_threads(before)


def test_a_rois_features_do_not_depend_on_how_far_the_map_goes_on_nor_on_other_rois() -> None:
    maps, rois = maps_and_rois(5, 60, images=1)
    rois[:, 1:] = rois[:, 1:].clamp(8, 280)  # a cell or more from the edges, where samples are cut
    own = align_by_sums(maps, rois, 1 / 16, 7, 2, True)
    wider = torch.nn.functional.pad(maps, (0, 30, 0, 20), value=7.0)
    assert torch.equal(align_by_sums(wider, rois, 1 / 16, 7, 2, True), own)
    assert torch.equal(align_by_sums(maps, rois[30:], 1 / 16, 7, 2, True), own[30:])


@pytest.mark.parametrize(
    ("height", "width", "size", "samples", "aligned", "counted", "expected"),
    [
        (19, 31, 7, 2, True, True, "products"),  # voc6_vgg16
        (23, 78, 7, 2, True, True, "products"),  # kitti_tiny_vgg16
        (38, 63, 7, 2, True, True, "sums"),
        (19, 31, 14, 2, True, True, "sums"),
        (19, 31, 7, 0, True, True, "sums"),
        (19, 31, 7, 2, False, True, "sums"),
        (19, 31, 7, 2, True, False, "sums"),  # a level of several
    ],
)
def test_small_maps_of_detectors_with_one_map_keep_their_products(
    monkeypatch: pytest.MonkeyPatch,
    height: int,
    width: int,
    size: int,
    samples: int,
    aligned: bool,
    counted: bool,
    expected: str,
) -> None:
    taken = []
    for name in ("sums", "products"):
        monkeypatch.setattr(module, f"align_by_{name}", lambda *given, name=name, **more: taken.append(name))
    rois = torch.tensor([[0.0, 0, 0, 64, 64]])
    roi_align(torch.zeros(1, 2, height, width), rois, 1 / 16, size, samples, aligned, counts=[1] if counted else None)
    assert taken == [expected]
