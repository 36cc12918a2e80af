"""RoI heads of ResNet detectors on four levels against torchvision's: the same weights, maps and proposals.

Authority: torchvision's MultiScaleRoIAlign, TwoMLPHead, FastRCNNConvFCHead, ResNet.layer4, FastRCNNPredictor and
RoIHeads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import ResNet, resnet18, resnet50
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign
from torchvision.ops.poolers import LevelMapper

from pipeline.families.faster_rcnn.building.roi_head import new_head
from pipeline.families.faster_rcnn.nn.detecting import detect_in_maps
from pipeline.families.faster_rcnn.nn.roi_head import RoIHead
from pipeline.families.faster_rcnn.training.head_step import head_step_losses
from pipeline.families.faster_rcnn.training.roi_samples import DrawnRoIs
from pipeline.geometry.layout import Level, MapLayout
from pipeline.nn.postprocess import DetectionRule
from pipeline.nn.roi_pooling import roi_levels
from pipeline.params.reading import Params
from tests.parity.comparison import Differences, differences, params_of

pytestmark = pytest.mark.authority("torchvision")

CLASSES, HIDDEN = 4, 48
SIZES = [(512, 640), (460, 600)]  # of two images in one batch
RULE = DetectionRule(0.05, 0.5, 100)
STD = torch.tensor([0.1, 0.1, 0.2, 0.2])  # torchvision's box weights are 10 10 5 5


def pyramid(channels: int) -> MapLayout:
    """P2 to P6."""
    return MapLayout(tuple(Level(stride, channels, round_up=True, pooled=stride < 64) for stride in (4, 8, 16, 32, 64)))


@dataclass(frozen=True)
class Kind:
    """A kind of head: what params.yaml says of it and of its trunk, its maps, and torchvision's hidden layers of it."""

    roi_head: Mapping[str, object]
    backbone: Mapping[str, object]
    layout: MapLayout
    theirs: Callable[[], nn.Module]
    features: int
    names: Mapping[str, str]
    """Names of their hidden layers to ours, by prefix."""


def res5(network: Callable[..., ResNet]) -> nn.Module:
    """A network's layer4 with weights of its own, and the mean over cells."""
    with torch.device("meta"):
        stage = network(norm_layer=FrozenBatchNorm2d).layer4
    stage.to_empty(device="cpu")
    for layer in stage.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return stage.append(nn.AdaptiveAvgPool2d(1))


def v2_head() -> nn.Module:
    return FastRCNNConvFCHead((12, 7, 7), [256] * 4, [HIDDEN], norm_layer=FrozenBatchNorm2d)


KINDS = {
    "fc": Kind({}, {}, pyramid(12), lambda: TwoMLPHead(12 * 49, HIDDEN), HIDDEN, {"fc6.": "fc6.", "fc7.": "fc7."}),
    "convs": Kind(
        {"kind": "convs"},
        {},
        pyramid(12),
        v2_head,
        HIDDEN,
        {**{f"{index}.": f"convs.{index}." for index in range(4)}, "5.": "fc6."},
    ),
    "res5 of ResNet-18": Kind(
        {"kind": "res5", "output_size": 14},
        {"name": "resnet18"},
        MapLayout((Level(16, 256, round_up=True),)),
        lambda: res5(resnet18),
        512,
        {"": "res5."},
    ),
    "res5 of ResNet-50": Kind(
        {"kind": "res5", "output_size": 14},
        {"name": "resnet50"},
        MapLayout((Level(16, 1024, round_up=True),)),
        lambda: res5(resnet50),
        2048,
        {"": "res5."},
    ),
}


def with_statistics(module: nn.Module) -> nn.Module:
    """Batch norms that do something."""
    draw = torch.Generator().manual_seed(2)
    for norm in module.modules():
        if isinstance(norm, FrozenBatchNorm2d):
            norm.weight.uniform_(0.5, 1.0, generator=draw)
            norm.running_var.uniform_(0.5, 2.0, generator=draw)
            for shift in (norm.bias, norm.running_mean):
                shift.normal_(std=0.1, generator=draw)
    return module


def both(kind: Kind) -> tuple[RoIHead, RoIHeads, Params]:
    """Our head and torchvision's RoI heads, of the same random weights."""
    changes = {"pool": "roi_align", "aligned": False, "samples": 2, "hidden": HIDDEN, "sigma": 3.0, **kind.roi_head}
    backbone = {"weights": "random", **kind.backbone}
    params = params_of({"roi_head": changes, "backbone": backbone})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hidden, outputs = with_statistics(kind.theirs()), FastRCNNPredictor(kind.features, CLASSES)
        nn.init.normal_(outputs.cls_score.weight, std=1.5 * kind.features**-0.5)
    names = [str(index) for index, level in enumerate(kind.layout.levels) if level.pooled]
    pool = MultiScaleRoIAlign(names, params.roi_head.output_size, 2)
    theirs = RoIHeads(
        pool, hidden, outputs, 0.5, 0.5, 512, 0.25, (10.0, 10.0, 5.0, 5.0), RULE.score_threshold, RULE.nms_iou, 100
    )
    head = new_head(kind.layout, CLASSES, params.roi_head, params.backbone)
    own = {**outputs.state_dict(), "delta_mean": torch.zeros(CLASSES, 4), "delta_std": STD.expand(CLASSES, 4)}
    for name, value in hidden.state_dict().items():
        prefix = next(prefix for prefix in kind.names if name.startswith(prefix))
        own[kind.names[prefix] + name.removeprefix(prefix)] = value
    head.load_state_dict(own)
    return head.eval(), theirs.eval(), params


def maps_of(layout: MapLayout) -> list[Tensor]:
    """Of both images, padded to one size."""
    draw = torch.Generator().manual_seed(1)
    return [
        torch.randn(2, level.channels, high, wide, generator=draw).relu_()
        for level, (high, wide) in zip(layout.levels, layout.sizes(*SIZES[0]), strict=True)
    ]


def proposals(count: int, seed: int = 3) -> list[Tensor]:
    """For each image boxes within it whose sides, 3 px to all of it, belong to all four levels."""
    draw, found = torch.Generator().manual_seed(seed), []
    for height, width in SIZES:
        limit = torch.tensor([width, height])
        sides = torch.exp(torch.linspace(1.1, 6.5, count)[:, None] + torch.rand(count, 2, generator=draw) / 3)
        sides = sides.clamp(max=limit)
        corners = torch.rand(count, 2, generator=draw) * (limit - sides)
        found.append(torch.cat([corners, corners + sides], dim=1))
    return found


def test_each_roi_is_of_the_level_that_level_mapper_says() -> None:
    """torchvision's LevelMapper, on the sides where levels begin too; some RoIs are thin or as wide as a panorama."""
    sides = torch.tensor([1.0, 56, 111.9, 112, 223.9, 224, 447.9, 448, 900, 3000])
    golden = torch.stack([sides * 0, sides * 0, sides, sides], dim=1)
    draw = torch.Generator().manual_seed(0)
    corners = torch.rand(5000, 2, generator=draw) * 700
    others = torch.cat([corners, corners + torch.exp(torch.rand(5000, 2, generator=draw) * 7)], dim=1)
    mapper = LevelMapper(2, 5)
    assert mapper([golden]).tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3, 3]
    assert roi_levels(golden, (4, 8, 16, 32)).tolist() == mapper([golden]).tolist()
    found = roi_levels(others, (4, 8, 16, 32))
    assert torch.equal(found, mapper([others])) and len(found.unique()) == 4


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if "18" in name else name for name in KINDS]
)
def test_detections_are_roi_heads(name: str) -> None:
    kind = KINDS[name]
    head, roi_heads, _ = both(kind)
    maps, rois = maps_of(kind.layout), proposals(12 if "res5" in name else 60)
    with torch.inference_mode():
        theirs, _ = roi_heads({str(i): own for i, own in enumerate(maps)}, rois, SIZES)
        ours = detect_in_maps(head, maps, rois, SIZES, RULE)
    total = Differences()
    for own, other in zip(ours, theirs, strict=True):
        total.add(differences(own, other))
    assert not total.unpaired
    assert total.pairs > len(rois[0]) and total.score < 1e-4 and total.box < 0.05
    if len(kind.layout.levels) > 1:
        assert len(roi_levels(torch.cat(rois), (4, 8, 16, 32)).unique()) == 4


@pytest.mark.parametrize("name", ["fc", "convs", "res5 of ResNet-18"])
def test_losses_and_gradients_are_those_of_fastrcnn_loss_on_the_same_rois(name: str) -> None:
    kind = KINDS[name]
    head, roi_heads, params = both(kind)
    draw, rois = torch.Generator().manual_seed(4), proposals(10 if "res5" in name else 60)
    count = len(rois[0])
    labels = torch.randint(0, CLASSES, (2 * count,), generator=draw)
    targets = torch.randn(2 * count, 4, generator=draw)
    found = []
    maps = [own.requires_grad_() for own in maps_of(kind.layout)]
    fg = torch.nonzero(labels > 0).squeeze(1)
    losses = head_step_losses(head.train(), maps, DrawnRoIs(rois, labels, targets, fg), 0, params.roi_head)
    found.append([losses["roi_class"], losses["roi_box"]])
    pooled = roi_heads.box_roi_pool({str(i): own for i, own in enumerate(maps)}, rois, SIZES)
    logits, deltas = roi_heads.box_predictor(roi_heads.box_head(pooled))
    found.append([*fastrcnn_loss(logits, deltas, list(labels.split(count)), list(targets.split(count)))])
    used = [own for own, level in zip(maps, kind.layout.levels, strict=True) if level.pooled]
    for ours, theirs in zip(*found, strict=True):
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-5) and theirs.item() > 0.01
    for ours, theirs in zip(*(torch.autograd.grad(sum(own), used) for own in found), strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
