"""The same weights in torchvision's RetinaNet and in ours: head outputs, which anchors are fg, losses, detections.

Images have sides that are multiples of 32 px: torchvision predicts in the padding too, ours does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNet, RetinaNetHead, _default_anchorgen
from torchvision.ops import FrozenBatchNorm2d, box_iou
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from pipeline.artifacts.dense_targets import StoredAssignment
from pipeline.building.layout import map_layout
from pipeline.building.torchvision_dense import to_torchvision
from pipeline.building.trunk import new_trunk
from pipeline.dense.assignment import Assignment, Truth, assign
from pipeline.dense.building import fresh_head
from pipeline.dense.head import Outputs
from pipeline.dense.network import DenseDetector
from pipeline.dense.targets import BatchTargets, put_together
from pipeline.families.retinanet import dense_targets, detect_dense, train_dense
from pipeline.families.retinanet.head import RetinaNetHead as OurHead
from pipeline.nn.backbones.frozen_norm import FrozenBatchNorm
from pipeline.nn.backbones.trunk import Trunk
from pipeline.params.reading import Params
from tests.families.retinanet_project import PYRAMID, params_of
from tests.parity.comparison import differences

pytestmark = pytest.mark.authority("torchvision")

NUM_CLASSES, SIZE, CHANNELS = 4, (160, 192), 64
TORCHVISION: dict[str, Any] = {
    "backbone": {"neck": {"channels": CHANNELS}},
    "anchors": {"placement": "torchvision", "whole_sizes": True},
    "retinanet": {"channels": CHANNELS, "normaliser": "image"},
    "detect_retinanet": {"per_image": 10_000},
}
VERSIONS: dict[str, dict[str, Any]] = {
    "v1": {},
    "v2": {"backbone": {"neck": {"p6_from": "c5"}}, "retinanet": {"norm": "group", "box_loss": "giou"}},
}


class Pair(NamedTuple):
    params: Params
    trunk: Trunk
    head: OurHead
    peer: RetinaNet


def torchvisions(version: str) -> RetinaNet:
    """Its class, built as `retinanet_resnet50_fpn` and its `_v2` are, on ResNet-18."""
    is_v2 = version == "v2"
    body = torchvision.models.resnet18(norm_layer=FrozenBatchNorm2d)
    levels = {f"layer{stage}": str(index) for index, stage in enumerate((2, 3, 4))}
    extra = LastLevelP6P7(512 if is_v2 else CHANNELS, CHANNELS)
    backbone = BackboneWithFPN(body, levels, [128, 256, 512], CHANNELS, extra)
    head = RetinaNetHead(CHANNELS, 9, NUM_CLASSES, norm_layer=partial(nn.GroupNorm, 32) if is_v2 else None)
    if is_v2:
        head.regression_head._loss_type = "giou"
    rules = {"min_size": min(SIZE), "max_size": max(SIZE), "detections_per_img": 10_000}
    return RetinaNet(backbone, NUM_CLASSES, anchor_generator=_default_anchorgen(), head=head, **rules).eval()


@pytest.fixture(scope="module", params=VERSIONS)
def pair(request: pytest.FixtureRequest) -> Pair:
    """Weights that make outputs of ordinary size; some classes score above the threshold."""
    params = params_of(PYRAMID, TORCHVISION, VERSIONS[request.param])
    draw = torch.Generator().manual_seed(0)
    trunk = new_trunk(params.backbone)
    trunk.initialise(draw)
    assert trunk.neck is not None
    trunk.neck.initialise(draw)
    head = cast(OurHead, fresh_head(train_dense, trunk.layout, NUM_CLASSES, params, draw))  # type: ignore[arg-type]
    for module in (*trunk.modules(), *head.modules()):
        if isinstance(module, FrozenBatchNorm):
            module.running_var.uniform_(0.8, 1.25, generator=draw)
            module.running_mean.normal_(std=0.1, generator=draw)
    with torch.no_grad():
        for name, weight in head.named_parameters():
            if weight.ndim == 4:
                last = "cls_logits" in name or "bbox_reg" in name
                std = 0.04 if last else (2 / (9 * CHANNELS)) ** 0.5
                weight.normal_(std=std, generator=draw)
            elif "cls_logits" not in name:
                weight.add_(torch.empty_like(weight).normal_(std=0.1, generator=draw))
    peer = torchvisions(request.param)
    peer.load_state_dict(to_torchvision(trunk.state_dict(), head.state_dict(), 9))
    return Pair(params, trunk.eval(), head.eval(), peer)


def pixels(seed: int, count: int = 1) -> Tensor:
    """(count, 3, H, W) uint8."""
    return torch.randint(0, 256, (count, 3, *SIZE), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def outputs_of(pair: Pair, seed: int, count: int) -> tuple[Outputs, dict[str, Tensor], list[Tensor]]:
    """Ours, theirs of the same images, and their anchors."""
    images = pair.trunk.normalise(pixels(seed, count), [SIZE] * count)
    features = list(pair.peer.backbone(images).values())
    anchors = pair.peer.anchor_generator(ImageList(images, [SIZE] * count), features)
    return pair.head(pair.trunk(images)), pair.peer.head(features), anchors


@torch.inference_mode()
def test_outputs_of_the_head_are_torchvisions(pair: Pair) -> None:
    """Their first class is the background, which ours has not."""
    ours, theirs, _ = outputs_of(pair, 0, 2)
    for own, expected in (
        (ours["class_logits"], theirs["cls_logits"][..., 1:]),
        (ours["box_deltas"], theirs["bbox_regression"]),
    ):
        assert own.shape == expected.shape and expected.std() > 0.05
        torch.testing.assert_close(own, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def truth_of(seed: int, count: int) -> Truth:
    """Boxes on quarters of a pixel."""
    draw, (height, width) = np.random.default_rng(seed), SIZE
    sides = np.exp(draw.uniform(np.log(12), np.log(120), (count, 2)))
    low = draw.uniform(0, 1, (count, 2)) * ([width, height] - sides)
    boxes = np.round(np.concatenate([low, low + sides], axis=1) * 4) / 4
    return Truth(boxes.astype(np.float32), draw.integers(1, NUM_CLASSES, count), np.zeros((0, 4), np.float32))


def assigned(params: Params, known: Truth) -> tuple[Assignment, StoredAssignment]:
    grid = dense_targets.locations(map_layout(params.backbone), params).of(*SIZE)
    own = assign(dense_targets, known, grid, SIZE, params)  # type: ignore[arg-type]
    fg = np.flatnonzero(own.labels > 0)
    ignored = np.packbits(own.labels < 0)
    return own, StoredAssignment(fg, own.labels[fg], own.matched_gt[fg], own.quality[fg], ignored, grid)


@pytest.mark.parametrize("seed", range(6))
def test_anchors_are_fg_bg_or_ignored_as_by_torchvisions_matcher(seed: int) -> None:
    """Of anchors on whole pixels and boxes on quarters of one float32 finds the IoUs of float64, rounded once."""
    params, known = params_of(PYRAMID, TORCHVISION), truth_of(seed, 1 + 2 * seed)
    own, stored = assigned(params, known)
    features = [torch.zeros(1, 1, *cells) for cells in stored.grid.cells]
    (anchors,) = _default_anchorgen()(ImageList(torch.zeros(1, 3, *SIZE), [SIZE]), features)
    iou = box_iou(torch.from_numpy(known.boxes), anchors)
    theirs = Matcher(0.5, 0.4, allow_low_quality_matches=True)(iou).numpy()
    expected = np.where(theirs >= 0, known.labels[theirs.clip(0)], np.where(theirs == -1, 0, -1))
    best = iou.amax(dim=0).numpy()
    clear = (np.abs(best - 0.5) > 1e-6) & (np.abs(best - 0.4) > 1e-6)
    assert clear.mean() > 0.999
    np.testing.assert_array_equal(own.labels[clear], expected[clear])
    fg = clear & (own.labels > 0)
    np.testing.assert_array_equal(own.matched_gt[fg], theirs[fg])
    np.testing.assert_allclose(own.quality, best, atol=1e-6)
    assert fg.any() and (own.labels == -1).any()


def losses_of(pair: Pair, truths: Sequence[Truth]) -> tuple[dict[str, float], dict[str, float]]:
    ours, theirs, anchors = outputs_of(pair, 1, len(truths))
    stored = [assigned(pair.params, known)[1] for known in truths]
    sizes = [SIZE] * len(truths)
    batch: BatchTargets = put_together(stored, truths, sizes, pair.head.locations.of_maps(*SIZE))
    targets = [{"boxes": torch.from_numpy(own.boxes), "labels": torch.from_numpy(own.labels)} for own in truths]
    own = train_dense.losses(pair.head, ours, batch, pair.params)
    expected = pair.peer.compute_loss(targets, theirs, anchors)
    return {name: float(value) for name, value in own.items()}, {k: float(v) for k, v in expected.items()}


@torch.inference_mode()
@pytest.mark.parametrize("counts", [(5,), (3, 8), (0, 4), (0, 0)])
def test_losses_are_torchvisions(pair: Pair, counts: tuple[int, ...]) -> None:
    """With `normaliser: image`; an image without objects is all background."""
    own, theirs = losses_of(pair, [truth_of(seed, count) for seed, count in enumerate(counts)])
    assert own["retinanet_class"] == pytest.approx(theirs["classification"], rel=1e-5)
    assert own["retinanet_box"] == pytest.approx(theirs["bbox_regression"], rel=1e-5, abs=1e-7)
    assert (own["retinanet_box"] > 0) == any(counts)


@pytest.mark.parametrize("seed", range(2))
def test_detections_are_torchvisions(pair: Pair, seed: int) -> None:
    """But those without an area, of boxes that lie outside the image: torchvision keeps them."""
    image = pixels(seed)
    network = DenseDetector(pair.trunk, pair.head, detect_dense, pair.params)  # type: ignore[arg-type]
    (ours,) = network(image, [SIZE], [(1.0, 1.0)])
    with torch.inference_mode():
        (theirs,) = pair.peer([image[0].float() / 255])
    filled = (theirs["boxes"][:, 2:] > theirs["boxes"][:, :2]).all(dim=1)
    found = differences(ours, {name: value[filled] for name, value in theirs.items()})
    assert not found.unpaired and found.pairs == int(filled.sum()) > 20
