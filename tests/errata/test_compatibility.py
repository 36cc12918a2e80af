"""The sizes that docs/compatibility.md gives for differences from the reference codes, computed."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.datasets.resizing import resized_size
from pipeline.families.faster_rcnn.nn.rpn_losses import rpn_losses
from pipeline.nn.anchors import AnchorGrid, inside
from pipeline.nn.backbones.trunk import IMAGENET_MEAN
from pipeline.nn.batched_nms import batched_nms
from pipeline.nn.boxes import MAX_SIZE_DELTA, decode, encode, pairwise_iou
from pipeline.nn.operators import roi_pool
from pipeline.nn.roi_align import roi_align
from pipeline.params.resize import ResizeParams
from pipeline.params.solver import SolverParams
from pipeline.training.loop import make_optimiser
from tests.errata.conftest import Page
from tests.layouts import one_level

pytestmark = pytest.mark.authority("py-faster-rcnn, Caffe and MATLAB, as read")

GRID = AnchorGrid(16, (0.5, 1.0, 2.0), (8.0, 16.0, 32.0), one_level(16))
# The list that the reference codes print: 1-based inclusive pixels of the first location.
CAFFE = torch.tensor(
    [
        [-83.0, -39, 100, 56],
        [-175, -87, 192, 104],
        [-359, -183, 376, 200],
        [-55, -55, 72, 72],
        [-119, -119, 136, 136],
        [-247, -247, 264, 264],
        [-35, -79, 52, 96],
        [-79, -167, 96, 184],
        [-167, -343, 184, 360],
    ],
    dtype=torch.float64,
)
CAFFE_CORNERS = CAFFE - torch.tensor([1.0, 1, 0, 0], dtype=torch.float64)
FOUR_ZEBRAS = torch.tensor([[89.0, 469, 249, 644], [238, 417, 415, 630], [435, 419, 580, 634], [617, 462, 765, 637]])


def caffe_anchors(height: int, width: int) -> Tensor:
    """All of them, as continuous corners."""
    moves = GRID.exact([(height, width)]).reshape(-1, 9, 4) - GRID.exact([(1, 1)])
    return (moves + CAFFE_CORNERS).reshape(-1, 4)


def ties(iou: Tensor) -> int:
    return int((iou == iou.amax(dim=1, keepdim=True)).any(dim=0).sum())


def test_caffes_anchors_are_the_exact_ones_with_rounded_base_sides() -> None:
    sides = [(round(math.sqrt(256 / r)), round(round(math.sqrt(256 / r)) * r)) for r in (0.5, 1, 2)]
    expected = [[8 - w * s / 2, 8 - h * s / 2, 8 + w * s / 2, 8 + h * s / 2] for w, h in sides for s in (8, 16, 32)]
    assert CAFFE_CORNERS.tolist() == expected


def test_anchors_differ_by_up_to_11_px(compatibility: Page) -> None:
    ours = GRID.exact([(1, 1)])
    apart = float((ours - CAFFE_CORNERS).abs().max())
    iou = pairwise_iou(ours, CAFFE_CORNERS).diagonal()
    assert torch.equal(ours[3:6], CAFFE_CORNERS[3:6])
    counts = []
    for anchors in (GRID.exact([(50, 50)]), caffe_anchors(50, 50)):
        counts.append(f"{int(inside(anchors, 800, 800).sum()):,}")
    assert counts == ["8,940", "9,132"]
    assert f"{apart:.2f}" == "10.98"
    compatibility.quotes("Anchor sides", f"{apart:.2f} px", f"{float(iou.min()):.3f}", *counts)


def test_ties_found_depend_on_how_ious_are_computed_and_compared(compatibility: Page) -> None:
    anchors = GRID.exact([(50, 50)])
    anchors = anchors[inside(anchors, 800, 800)]
    iou = pairwise_iou(FOUR_ZEBRAS.double(), anchors)
    found = [ties(iou.float()), ties(iou), ties(pairwise_iou(FOUR_ZEBRAS, anchors.float()))]
    assert found == [45, 24, 30]
    compatibility.quotes("Equal IoUs", *map(str, found))


def test_a_gt_box_scaled_as_inclusive_pixels_comes_out_narrower(compatibility: Page) -> None:
    """40 px wide and high, scaled by 1.6: the last pixel is scaled, and one pixel added."""
    theirs, ours = torch.tensor([[0.0, 0, 39 * 1.6 + 1, 39 * 1.6 + 1]]), torch.tensor([[0.0, 0, 64, 64]])
    iou = float(pairwise_iou(theirs, ours))
    assert round(iou, 3) == 0.981
    compatibility.quotes("Boxes are continuous", f"{iou:.3f}", "0.6 px")


def test_decoding_without_minus_one_makes_every_box_a_pixel_larger(compatibility: Page) -> None:
    shown = []
    for side in (64.0, 256.0):
        box = torch.tensor([[0.0, 0, side, side]])
        assert torch.equal(decode(box, encode(box, box)), box)
        shown.append(f"{float(pairwise_iou(box, box + torch.tensor([0, 0, 1, 1]))):.3f}")
    assert shown == ["0.969", "0.992"]
    compatibility.quotes("Decoding inverts", *shown)


def test_size_deltas_are_cut_at_a_growth_of_62_and_a_half(compatibility: Page) -> None:
    grown = decode(torch.tensor([[0.0, 0, 16, 16]]), torch.tensor([[0.0, 0, 9, 9]]))
    assert float(grown[0, 2] - grown[0, 0]) == pytest.approx(1000, rel=1e-5)
    compatibility.quotes("dw and dh", f"{math.exp(MAX_SIZE_DELTA):.1f}", f"{MAX_SIZE_DELTA:.2f}")


def test_roi_pool_takes_another_cell_for_one_edge_in_16(compatibility: Page) -> None:
    """The same RoI with its right edge as a corner and as the last pixel, which is what Caffe was given."""
    maps = torch.arange(64.0).expand(1, 1, 64, 64).contiguous()
    edges = torch.arange(17.0, 17 + 16 * 50)

    def last_columns(right: Tensor) -> Tensor:
        zeros = torch.zeros(len(right))
        rois = torch.stack([zeros, zeros, zeros, right, right], dim=1)
        return roi_pool(maps, rois, 1 / 16, 7).amax(dim=(1, 2, 3))

    moved = last_columns(edges) != last_columns(edges - 1)
    assert float(moved.float().mean()) == 1 / 16
    assert [float(last_columns(torch.tensor([right]))) for right in (24.0, 23.0)] == [2, 1]
    compatibility.quotes("RoIPool is given", "1 in 16", "24", "23")


def test_roi_align_without_its_half_pixel_samples_half_a_cell_further_right(compatibility: Page) -> None:
    maps = torch.arange(64.0).expand(1, 1, 64, 64).contiguous()
    roi = torch.tensor([[0.0, 160, 160, 320, 320]])
    ours = roi_align(maps, roi, 1 / 16, 7)
    unaligned = torch.ops.torchvision.roi_align(maps, roi, 1 / 16, 7, 7, 2, False)
    apart = float((unaligned - ours).mean())
    assert apart == pytest.approx(0.5, abs=1e-5)
    compatibility.quotes("RoIAlign", f"{apart:.1f}", f"{apart * 16:.0f} px")


def synthetic(height: int, width: int) -> np.ndarray:
    """Smooth shades with edges and some noise, the same on every run."""
    y, x = np.mgrid[0:height, 0:width]
    shades = 120 + 60 * np.sin(x / 23) * np.cos(y / 31) + 50 * ((x // 40 + y // 30) % 2)
    noise = np.random.default_rng(0).normal(0, 8, (height, width, 3))
    return np.clip(shades[..., None] + noise, 0, 255).astype(np.uint8)


def by_torch(image: np.ndarray, height: int, width: int, antialias: bool) -> np.ndarray:
    channels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    resized = functional.interpolate(channels, (height, width), mode="bilinear", antialias=antialias)
    return resized[0].permute(1, 2, 0).numpy()


def by_opencv(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def mean_apart(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first.astype(np.float64) - second).mean())


def test_resizing_bytes_differs_from_resizing_floats_by_rounding_alone(compatibility: Page) -> None:
    image = synthetic(375, 500)
    as_bytes, as_floats = by_opencv(image, 600, 800), by_opencv(image.astype(np.float32), 600, 800)
    apart = mean_apart(as_bytes, as_floats)
    largest = float(np.abs(as_bytes - as_floats).max())
    assert largest < 1
    compatibility.quotes("Images are resized as bytes", f"{apart:.1f}", "less than 1")


def test_resizing_with_antialiasing_differs_only_where_images_shrink(compatibility: Page) -> None:
    larger, smaller = synthetic(375, 500), synthetic(750, 1000)
    grown = mean_apart(by_opencv(larger, 600, 800), by_torch(larger, 600, 800, antialias=True))
    plain = mean_apart(by_opencv(smaller, 300, 400), by_torch(smaller, 300, 400, antialias=False))
    shrunk = mean_apart(by_opencv(smaller, 300, 400), by_torch(smaller, 300, 400, antialias=True))
    assert max(grown, plain) < 0.3 < 1 < shrunk
    compatibility.quotes("Images are resized by OpenCV", f"{grown:.1f}", f"{plain:.1f}", f"{shrunk:.1f}")


def test_mirroring_after_resizing_is_mirroring_before_it_up_to_rounding(compatibility: Page) -> None:
    image = synthetic(333, 500)
    after = by_opencv(image, 600, 901)[:, ::-1]
    before = by_opencv(np.ascontiguousarray(image[:, ::-1]), 600, 901)
    largest = int(np.abs(after.astype(int) - before).max())
    assert largest <= 1
    compatibility.quotes("Images are mirrored after", "at most 1")


def test_scale_is_the_resized_sides_own_and_not_the_wanted_one(compatibility: Page) -> None:
    sides = {"shorter_side": 600, "longer_side": 1000, "fixed_width": 800, "fixed_height": 800}
    height, width = resized_size(333, 500, ResizeParams.model_validate({"rule": "shorter_side", **sides}))
    apart = width - 500 * 600 / 333
    assert (height, width, int(500 * 600 / 333)) == (600, 901, 900)
    compatibility.quotes("Boxes are scaled by", f"{apart:.2f} px", "901", "900")


def test_pixel_means_of_the_two_sets_of_weights_are_less_than_a_level_apart(compatibility: Page) -> None:
    caffe_rgb = (122.7717, 115.9465, 102.9801)
    apart = [255 * ours - theirs for ours, theirs in zip(IMAGENET_MEAN, caffe_rgb, strict=True)]
    assert max(apart) < 1
    compatibility.quotes("torchvision's VGG16", *(f"{value:.2f}" for value in apart))


def test_ceil_pooling_adds_a_row_of_anchors(compatibility: Page) -> None:
    assert (len(GRID([(37, 50)])), len(GRID([(38, 50)]))) == (16_650, 17_100)
    compatibility.quotes("Pooling rounds", "16,650", "17,100")


def test_half_precision_of_stored_maps_is_half_a_thousandth(compatibility: Page) -> None:
    values = torch.rand(100_000, generator=torch.Generator().manual_seed(0)) * 100 + 1
    worst = float(((values.half().float() - values) / values).abs().max())
    assert worst == pytest.approx(2**-11, rel=0.02)
    compatibility.quotes("Cached feature maps", "0.05 %", f"{torch.finfo(torch.float16).max:,.0f}")


def test_bf16_rounds_at_four_thousandths(compatibility: Page) -> None:
    values = torch.rand(100_000, generator=torch.Generator().manual_seed(0)) * 100 + 1
    worst = float(((values.bfloat16().float() - values) / values).abs().max())
    assert worst == pytest.approx(2**-8, rel=0.02)
    compatibility.quotes("bf16 autocast", f"{100 * worst:.1f} %")


def test_difference_of_logits_is_the_softmax(compatibility: Page) -> None:
    logits = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0)) * 5
    apart = (torch.sigmoid(logits[:, 1] - logits[:, 0]) - torch.softmax(logits, dim=1)[:, 1]).abs().max()
    assert float(apart) < 1e-6
    compatibility.quotes("Objectness", "1e-6")


def test_rpn_box_loss_is_nearly_the_papers_with_lambda_10(compatibility: Page) -> None:
    locations = 2400
    deltas, wanted = torch.full((8, 4), 0.3), torch.zeros(8, 4)
    is_fg = torch.cat([torch.ones(8), torch.zeros(248)])
    _, ours = rpn_losses(torch.zeros(256), is_fg, deltas, wanted, torch.full((256,), 1 / 256), 3.0)
    papers = 10 / locations * 8 * 4 * (0.3 - 0.5 / 9)
    ratio = papers / float(ours)
    assert ratio == pytest.approx(10 / locations * 256)
    compatibility.quotes("Both RPN losses", f"{ratio:.2f}")


def test_undecayed_biases_stay_six_percent_larger_over_step_1(compatibility: Page) -> None:
    solver = SolverParams(
        momentum=0.9,
        weight_decay=0.0005,
        bias_lr_factor=2.0,
        trunk_lr_factor=1.0,
        lr_decay="drops",
        clip_norm=0.0,
        log_every=1,
    )
    decays = {
        len(group["params"][0].shape): group for group in make_optimiser(nn.Linear(2, 2), 0.001, solver).param_groups
    }
    assert (decays[2]["weight_decay"], decays[1]["weight_decay"], decays[1]["lr"]) == (0.0005, 0, 0.002)
    kept = (1 - 0.002 * 0.0005) ** 60_000 * (1 - 0.0002 * 0.0005) ** 20_000
    compatibility.quotes("Biases do not decay", f"{100 * (1 - kept):.1f} %")


def test_momentum_after_a_drop_of_the_learning_rate(compatibility: Page) -> None:
    """A gradient of 1 throughout; Caffe's velocity holds the old learning rate, torch's does not."""
    moved = {"caffe": 0.0, "torch": 0.0}
    caffe_velocity, torch_velocity = 0.001 / 0.1, 1 / 0.1
    for _ in range(400):
        caffe_velocity = 0.9 * caffe_velocity + 0.0001
        torch_velocity = 0.9 * torch_velocity + 1
        moved["caffe"] += caffe_velocity
        moved["torch"] += 0.0001 * torch_velocity
    iterations = (moved["caffe"] - moved["torch"]) / (0.001 / 0.1)
    assert iterations == pytest.approx(0.9 / 0.1 * 0.9)
    compatibility.quotes("Momentum", f"{iterations:.1f}")


def test_moving_classes_apart_costs_a_500th_of_a_pixel(compatibility: Page) -> None:
    far = torch.tensor(20 * 1001.0)
    step = float(torch.nextafter(far, far + 1) - far)
    box = torch.tensor([[100.0, 100, 150, 150]])
    kept = batched_nms(box.repeat(2, 1), torch.tensor([0.9, 0.8]), torch.tensor([1, 20]), 0.3, 100)
    assert kept.tolist() == [0, 1]
    compatibility.quotes("NMS of all classes", f"{step:.3f} px")
