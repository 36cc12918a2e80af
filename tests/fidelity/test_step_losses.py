"""The losses that the steps train on, from feature maps to numbers, against the papers' formulas in float64 NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.artifacts.image_views import Entry
from pipeline.families.faster_rcnn.nn.fc_head import FcHead
from pipeline.families.faster_rcnn.nn.proposals import ProposalRule
from pipeline.families.faster_rcnn.nn.roi_head import RoIHead
from pipeline.families.faster_rcnn.nn.roi_targets import GtBoxes
from pipeline.families.faster_rcnn.nn.rpn import RPNHead
from pipeline.families.faster_rcnn.params.proposal_targets import ProposalTargetParams
from pipeline.families.faster_rcnn.params.roi_head import RoIHeadParams
from pipeline.families.faster_rcnn.params.rpn import RPNParams
from pipeline.families.faster_rcnn.training.anchor_samples import AnchorSample
from pipeline.families.faster_rcnn.training.batches import Batch
from pipeline.families.faster_rcnn.training.head_step import HeadStep
from pipeline.families.faster_rcnn.training.joint_step import JointStep
from pipeline.families.faster_rcnn.training.roi_samples import RoISample
from pipeline.families.faster_rcnn.training.rpn_step import RPNStep
from pipeline.feeding.views import Views
from pipeline.geometry.pooling import Pooling
from pipeline.nn.anchors import AnchorGrid
from pipeline.nn.backbones.build import build_trunk
from pipeline.nn.smooth_l1 import smooth_l1
from tests.fidelity import reference
from tests.layouts import one_level

pytestmark = pytest.mark.authority("the papers' formulas in float64")

DEPTH, STRIDE, PER_LOCATION, CLASSES = 5, 16, 3, 4
SIZES = [(64, 96), (112, 48)]
Weights = dict[str, np.ndarray]


def rpn_params(**changes: float) -> RPNParams:
    values = {"channels": 6, "anchors_per_image": 256, "fg_fraction": 0.5, "sigma": 3.0, "box_loss_weight": 1.0}
    return RPNParams(**{**values, **changes}, images_without_gt="background")  # type: ignore[arg-type]


def head_params(pool: str = "roi_pool", **changes: float) -> RoIHeadParams:
    values = {"output_size": 3, "hidden": 8, "dropout": 0.0, "rois_per_image": 64, "fg_fraction": 0.25, "sigma": 1.0}
    return RoIHeadParams(**{"pool": pool, "box_loss_weight": 1.0, **values, **changes})  # type: ignore[arg-type]


def with_random_weights(module: nn.Module) -> nn.Module:
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in module.parameters():
            weight.normal_(std=0.3, generator=draw)
    return module


def new_head(pool: str, channels: int = DEPTH, stride: int = STRIDE) -> RoIHead:
    head = FcHead(one_level(stride, channels), CLASSES, Pooling(pool, 3), hidden=8, dropout=0.0)
    return with_random_weights(head)  # type: ignore[return-value]


def weights(module: nn.Module) -> Weights:
    return {name: value.detach().double().numpy() for name, value in module.named_parameters()}


def feature_size(height: int, width: int) -> tuple[int, int]:
    return height // STRIDE, width // STRIDE


@pytest.fixture
def maps() -> list[np.ndarray]:
    """Feature maps of two images of different sizes."""
    draw = np.random.default_rng(1)
    return [draw.normal(size=(DEPTH, *feature_size(*size))).astype(np.float32) for size in SIZES]


@pytest.fixture
def anchors() -> list[AnchorSample]:
    """Of unequal numbers in the two images, and of unequal shares of fg."""
    draw, samples = np.random.default_rng(2), []
    for size, fg, bg in zip(SIZES, (4, 1), (9, 17), strict=True):
        chosen = torch.from_numpy(draw.permutation(np.prod(feature_size(*size)) * PER_LOCATION)[: fg + bg])
        samples.append(AnchorSample(chosen[:fg], chosen[fg:], torch.from_numpy(draw.normal(size=(fg, 4))).float()))
    return samples


@pytest.fixture
def rois() -> list[RoISample]:
    """Of every class and of the background, unequal in number."""
    draw, samples = np.random.default_rng(3), []
    for (height, width), labels in zip(SIZES, ([3, 0, 1, 0], [2, 2, 0, 0, 0, 1, 0]), strict=True):
        corners = draw.uniform([0, 0], [width / 2, height / 2], (len(labels), 2))
        boxes = np.concatenate([corners, corners + draw.uniform(8, 40, (len(labels), 2))], axis=1)
        deltas = torch.from_numpy(draw.normal(size=(len(labels), 4))).float()
        samples.append(RoISample(torch.from_numpy(boxes).float(), torch.tensor(labels), deltas))
    return samples


def batch_of(maps: list[np.ndarray], anchors: list[AnchorSample], rois: list[RoISample]) -> Batch:
    """Maps padded to a common size, as the loader pads them."""
    height, width = (max(own.shape[axis] for own in maps) for axis in (1, 2))
    padded = np.zeros((len(maps), DEPTH, height, width), np.float32)
    for target, own in zip(padded, maps, strict=True):
        target[:, : own.shape[1], : own.shape[2]] = own
    entries = [Entry(str(i)) for i in range(len(maps))]
    return Batch(Views(entries, SIZES[: len(maps)], maps=(torch.from_numpy(padded),)), anchors, rois, [], [], [0, 0, 0])


def numpy_rpn(weight: Weights, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Section 3.1: 3x3 convolution, ReLU, two 1x1 ones; (K, 2) scores of (bg, fg) and (K, 4) deltas.

    Of the 2A score channels the first A are background, as in py-faster-rcnn.
    """
    hidden = np.maximum(reference.convolve(own, weight["conv.weight"], weight["conv.bias"]), 0)
    scores, deltas = (
        reference.convolve(hidden, weight[f"{name}.weight"], weight[f"{name}.bias"])
        for name in ("cls_score", "bbox_pred")
    )
    height, width = own.shape[1:]
    kind_anchor = scores.reshape(2, PER_LOCATION, height, width)
    return (
        kind_anchor.transpose(2, 3, 1, 0).reshape(-1, 2),
        deltas.reshape(PER_LOCATION, 4, height, width).transpose(2, 3, 0, 1).reshape(-1, 4),
    )


def numpy_rpn_step(weight: Weights, maps: list[np.ndarray], anchors: list[AnchorSample]) -> np.ndarray:
    """Objectness and box loss, equation 1 image by image, the mean over the images."""
    losses = []
    for own, sample in zip(maps, anchors, strict=True):
        scores, deltas = numpy_rpn(weight, own)
        fg, bg = sample.fg.tolist(), sample.bg.tolist()
        losses.append(reference.rpn_loss(scores, deltas, fg, bg, sample.deltas.double().numpy(), 3.0))
    return np.mean(losses, axis=0)


def numpy_head(weight: Weights, own: np.ndarray, rois: np.ndarray, pool: str) -> tuple[np.ndarray, np.ndarray]:
    """Section 2: pooled features, fc6, fc7, then scores (R, C) and deltas (R, C, 4)."""
    pooled = {"roi_pool": reference.roi_pool, "roi_align": reference.roi_align}[pool]
    values = np.array([pooled(own.astype(np.float64), roi, 1 / STRIDE, 3).ravel() for roi in rois])
    for layer in ("fc6", "fc7"):
        values = np.maximum(values @ weight[f"{layer}.weight"].T + weight[f"{layer}.bias"], 0)
    scores, deltas = (
        values @ weight[f"{name}.weight"].T + weight[f"{name}.bias"] for name in ("cls_score", "bbox_pred")
    )
    return scores, deltas.reshape(len(rois), CLASSES, 4)


def numpy_head_step(weight: Weights, maps: list[np.ndarray], rois: list[RoISample], pool: str) -> np.ndarray:
    """Class and box loss over all RoIs of the batch."""
    parts = [numpy_head(weight, own, sample.rois.numpy(), pool) for own, sample in zip(maps, rois, strict=True)]
    scores, deltas = (np.concatenate(part) for part in zip(*parts, strict=True))
    labels, targets = (torch.cat([getattr(s, name) for s in rois]).numpy() for name in ("labels", "deltas"))
    return np.array(reference.roi_loss(scores, deltas, labels, targets.astype(np.float64), 1.0))


def assert_gradients_are_the_references(module: nn.Module, loss: Tensor, of: Callable[[Weights], float]) -> None:
    """Slopes of the float64 reference along a random direction of each weight, by central differences."""
    own, draw, step = weights(module), np.random.default_rng(4), 1e-6
    for (name, weight), gradient in zip(
        module.named_parameters(), torch.autograd.grad(loss, list(module.parameters()), allow_unused=True), strict=True
    ):
        direction = draw.normal(size=tuple(weight.shape))
        ahead, behind = (of({**own, name: own[name] + sign * step * direction}) for sign in (1, -1))
        assert gradient is not None, name
        slope = float((gradient.double().numpy() * direction).sum())
        assert slope == pytest.approx((ahead - behind) / (2 * step), rel=1e-3, abs=1e-5), name


def test_rpn_step_has_the_loss_of_equation_1_and_its_gradients(
    maps: list[np.ndarray], anchors: list[AnchorSample]
) -> None:
    """Authority: Faster R-CNN, equation 1, with py-faster-rcnn's normaliser (the drawn anchors of each image)."""
    rpn = with_random_weights(RPNHead(DEPTH, 6, PER_LOCATION))
    losses = RPNStep(rpn, rpn_params(), None, one_level(STRIDE, DEPTH))(batch_of(maps, anchors, []))  # type: ignore[arg-type]
    expected = numpy_rpn_step(weights(rpn), maps, anchors)
    assert [loss.item() for loss in losses.values()] == pytest.approx(expected.tolist(), rel=1e-5)
    total = sum(losses.values())
    assert isinstance(total, Tensor)
    assert_gradients_are_the_references(rpn, total, lambda weight: float(numpy_rpn_step(weight, maps, anchors).sum()))


def test_a_box_loss_weight_of_10_times_samples_over_locations_gives_equation_1_as_printed(
    maps: list[np.ndarray], anchors: list[AnchorSample]
) -> None:
    """Authority: Faster R-CNN, section 3.1.2: lambda 10, N_cls the mini-batch, N_reg the number of locations."""
    rpn = with_random_weights(RPNHead(DEPTH, 6, PER_LOCATION))
    own, sample = maps[:1], anchors[:1]
    drawn, locations = len(sample[0].fg) + len(sample[0].bg), own[0][0].size
    batch = batch_of(own, sample, [])
    step = RPNStep(rpn, rpn_params(box_loss_weight=10 * drawn / locations), None, one_level(STRIDE, DEPTH))  # type: ignore[arg-type]
    _, deltas = numpy_rpn(weights(rpn), own[0])
    fg, targets = sample[0].fg.tolist(), sample[0].deltas.double().numpy()
    box = sum(reference.smooth_l1(deltas[k] - t, 3.0).sum() for k, t in zip(fg, targets, strict=True))
    assert step(batch)["rpn_box"].item() == pytest.approx(10 * box / locations, rel=1e-5)


@pytest.mark.parametrize("pool", ["roi_pool", "roi_align"])
def test_head_step_has_the_multi_task_loss_and_its_gradients(
    maps: list[np.ndarray], rois: list[RoISample], pool: str
) -> None:
    """Authority: Fast R-CNN, section 2.3; RoIs pooled as Caffe does or as Mask R-CNN does."""
    head = new_head(pool)
    losses = HeadStep(head, head_params(pool), None)(batch_of(maps, [], rois))
    expected = numpy_head_step(weights(head), maps, rois, pool)
    assert [loss.item() for loss in losses.values()] == pytest.approx(expected.tolist(), rel=1e-5)
    total = sum(losses.values())
    assert isinstance(total, Tensor)
    assert_gradients_are_the_references(
        head, total, lambda weight: float(numpy_head_step(weight, maps, rois, pool).sum())
    )


@pytest.mark.parametrize("sigma", [1.0, 3.0])
def test_smooth_l1_has_the_slope_sigma_squared_x_up_to_its_knee_and_one_beyond(sigma: float) -> None:
    """Authority: the derivative of Fast R-CNN's equation 3, written down by hand."""
    x = torch.linspace(-2.5, 2.5, 401, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(smooth_l1(x, sigma).sum(), x)
    values = x.detach().numpy()
    expected = np.where(np.abs(values) < sigma**-2, sigma**2 * values, np.sign(values))
    np.testing.assert_allclose(slope.numpy(), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(smooth_l1(x, sigma).detach().numpy(), reference.smooth_l1(values, sigma), rtol=1e-12)


@pytest.mark.parametrize("low", [0.0, 0.1])
def test_joint_step_has_the_losses_of_both_heads_on_the_rois_that_it_drew(low: float) -> None:
    """Authority: Faster R-CNN, section 3.2 (approximate joint training): the four losses, labels by Fast R-CNN, 2.3."""
    draw = torch.Generator().manual_seed(5)
    trunk = build_trunk("tiny", frozen_stages=2, ceil_pool=False)
    trunk.initialise(draw)
    grid = AnchorGrid(16, (0.5, 1.0, 2.0), (2.0,), trunk.layout)
    rpn = with_random_weights(RPNHead(trunk.layout.channels, 6, PER_LOCATION))
    head = new_head("roi_pool", trunk.layout.channels, trunk.layout.strides[0])
    mean, std = torch.randn(CLASSES, 4, generator=draw) * 0.1, torch.rand(CLASSES, 4, generator=draw) + 0.1
    head.delta_mean.copy_(mean)
    head.delta_std.copy_(std)
    targets = ProposalTargetParams(
        fg_iou=0.5, bg_iou_high=0.5, bg_iou_low=low, ignore_ioa=0.5, normalise="fixed", mean=[0.0] * 4, std=[1.0] * 4
    )
    rule = ProposalRule(pre_nms=300, nms_iou=0.7, post_nms=60, min_size=4)
    step = JointStep(trunk, rpn, head, grid, rule, rpn_params(), targets, head_params()).eval()  # type: ignore[arg-type]
    gt = GtBoxes(torch.tensor([[8.0, 8, 60, 50], [40, 20, 100, 90], [2, 60, 40, 92]]), torch.tensor([2, 3, 1]))
    sample = AnchorSample(torch.tensor([7, 60]), torch.arange(100, 120), torch.randn(2, 4, generator=draw))
    images = torch.randint(0, 256, (1, 3, 96, 112), generator=draw, dtype=torch.uint8)
    batch = Batch(Views([Entry("a")], [(96, 112)], images=images), [sample], [], [gt], [(1.0, 1.0)], [1, 2])
    seen: dict[str, tuple[object, object]] = {}
    for name, module in (("rpn", rpn), ("head", head)):
        module.register_forward_hook(lambda _, given, made, name=name: seen.update({name: (given, made)}))
    losses = step(batch)
    (_, (rois,)), (logits, deltas) = seen["head"]  # type: ignore[misc]
    boxes, classes = gt.boxes.numpy(), gt.labels.numpy()
    labels = reference.roi_labels(rois.numpy(), boxes, classes, 0.5, 0.5, low)
    assert (labels >= 0).all() and 3 <= (labels > 0).sum() <= 16 and (labels == 0).any()
    best = reference.iou_matrix(rois.numpy(), boxes).argmax(axis=1)
    wanted = reference.box_targets(rois.numpy(), boxes[best])
    wanted = (wanted - mean.numpy()[labels]) / std.numpy()[labels]
    expected = reference.roi_loss(logits.detach().numpy(), deltas.detach().double().numpy(), labels, wanted, 1.0)
    assert losses["roi_class"].item() == pytest.approx(expected[0], rel=1e-4)
    assert losses["roi_box"].item() == pytest.approx(expected[1], rel=1e-4)
    objectness, anchor_deltas = (value.detach().double().numpy() for (value,) in seen["rpn"][1])  # type: ignore[attr-defined]
    scores = np.stack([np.zeros(objectness.size), objectness.ravel()], axis=1)
    fg, bg = sample.fg.tolist(), sample.bg.tolist()
    rpn_expected = reference.rpn_loss(scores, anchor_deltas.reshape(-1, 4), fg, bg, sample.deltas.double().numpy(), 3.0)
    assert losses["rpn_objectness"].item() == pytest.approx(rpn_expected[0], rel=1e-4)
    assert losses["rpn_box"].item() == pytest.approx(rpn_expected[1], rel=1e-4)
