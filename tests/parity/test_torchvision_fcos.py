"""FCOS on a ResNet-18 with levels P3 to P7 against torchvision.

Authority: torchvision's FCOS class, with the same random weights, on the same pixels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.models import resnet
from torchvision.models.detection import FCOS
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from pipeline.building.torchvision_dense import from_torchvision
from pipeline.building.trunk import new_trunk
from pipeline.dense.building import new_head
from pipeline.dense.maps import outputs_of
from pipeline.dense.network import DenseDetector
from pipeline.families.fcos import detect_dense, train_dense
from pipeline.feeding.views import Views
from pipeline.params.reading import Params
from tests.families.family_project import family_params
from tests.families.fcos.scene import targets_of
from tests.parity.comparison import differences

pytestmark = pytest.mark.authority("torchvision")

CLASSES = 6
AS_TORCHVISION: dict[str, Any] = {
    "backbone": {
        "name": "resnet18",
        "weights": "random",
        "size_divisible": 32,
        "neck": {"name": "fpn_p3_p7", "channels": 64, "p6_from": "p5"},
    },
    "fcos": {"depth": 4, "channels": 64, "placement": "torchvision", "centre_radius": 1.5},
    "detect_fcos": {"score_threshold": 0.2},
    "evaluate": {"score_threshold": 0.2},
}
SIZE = (160, 224)  # multiples of 32 alone: P6 and P7 have a part of a cell more than the image


class Pair(NamedTuple):
    ours: DenseDetector
    theirs: FCOS
    params: Params


@pytest.fixture(scope="module")
def pair() -> Pair:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = resnet.resnet18(weights=None, norm_layer=FrozenBatchNorm2d)
        layers = {f"layer{stage}": str(stage) for stage in (2, 3, 4)}
        fpn = BackboneWithFPN(body, layers, [128, 256, 512], 64, LastLevelP6P7(64, 64))
        theirs = FCOS(fpn, CLASSES, min_size=min(SIZE), max_size=max(SIZE))
        _spread(theirs)
    params = family_params("fcos", AS_TORCHVISION)
    trunk = new_trunk(params.backbone)
    head = new_head(detect_dense, trunk.layout, CLASSES, params)  # type: ignore[arg-type]
    state = from_torchvision(theirs.state_dict(), "test")
    for part, name in ((trunk, "trunk."), (head, "head.")):
        part.load_state_dict({key.removeprefix(name): own for key, own in state.items() if key.startswith(name)})
    network = DenseDetector(trunk.eval(), head.eval(), detect_dense, params)  # type: ignore[arg-type]
    return Pair(network, theirs.eval(), params)


def _spread(model: FCOS) -> None:
    """Outputs of a size by which few candidates are alike, and a background that is never found."""
    classes, boxes = model.head.classification_head, model.head.regression_head
    with torch.no_grad():
        for module in model.backbone.body.modules():
            if isinstance(module, FrozenBatchNorm2d):
                module.weight.uniform_(0.4, 0.8)
        for layer, std in ((classes.cls_logits, 0.05), (boxes.bbox_reg, 0.05), (boxes.bbox_ctrness, 0.05)):
            layer.weight.normal_(std=std)
            layer.bias.normal_(std=0.5)
        classes.cls_logits.bias.sub_(1.0)
        boxes.bbox_reg.bias.add_(2.0)
        classes.cls_logits.weight[0], classes.cls_logits.bias[0] = 0, -20


def photos(count: int = 2, size: tuple[int, int] = SIZE) -> Tensor:
    """(B, 3, H, W) uint8 pixels of coloured rectangles."""
    draw, images = np.random.default_rng(0), np.zeros((count, 3, *size), np.uint8)
    for image in images:
        for _ in range(12):
            y, x = draw.integers(0, size[0] - 20), draw.integers(0, size[1] - 20)
            high, wide = draw.integers(10, 120, 2)
            image[:, y : y + high, x : x + wide] = draw.integers(0, 256, (3, 1, 1))
    return torch.from_numpy(images)


def boxes(seed: int, count: int) -> list[list[float]]:
    """On quarters of a pixel, of sides from 8 px to the image's."""
    draw = np.random.default_rng(seed)
    sides = np.exp(draw.uniform(np.log(8), np.log([SIZE[1], SIZE[0]]), (count, 2)))
    low = draw.uniform(0, 1, (count, 2)) * ([SIZE[1], SIZE[0]] - sides)
    found = (np.round(np.concatenate([low, low + sides], axis=1) * 4) / 4).tolist()
    return [*found, [0.0, 0.0, 216.0, 150.25]] if count > 5 else found  # one for the third level


def test_head_outputs_are_those_of_the_class(pair: Pair) -> None:
    images = photos()
    with torch.inference_mode():
        outputs, grid = outputs_of(pair.ours.trunk, pair.ours.head, Views([], [SIZE] * 2, images=images))
        batch, _ = pair.theirs.transform(list(images / 255))
        theirs = pair.theirs.head(list(pair.theirs.backbone(batch.tensors).values()))
    strides = torch.tensor(grid.strides).repeat_interleave(torch.tensor(grid.counts))
    for ours, other in (
        (outputs["classes"], theirs["cls_logits"][..., 1:]),
        (outputs["edges"] / strides[:, None], theirs["bbox_regression"]),
        (outputs["centreness"], theirs["bbox_ctrness"][..., 0]),
    ):
        torch.testing.assert_close(ours, other, rtol=1e-5, atol=1e-5)
    assert (outputs["edges"] > 0).float().mean() > 0.5


@pytest.mark.parametrize("counts", [(5, 9), (0, 3), (0, 0)])
def test_losses_are_those_of_the_class(pair: Pair, counts: tuple[int, int]) -> None:
    """Of two images; where locations lie, and which of them find what, are compared with them."""
    images, truths = photos(), [boxes(seed, count) for seed, count in enumerate(counts)]
    labels = [torch.arange(len(own)) % (CLASSES - 1) + 1 for own in truths]
    wanted = [
        {"boxes": torch.tensor(own).reshape(-1, 4), "labels": label} for own, label in zip(truths, labels, strict=True)
    ]
    pair.theirs.train()
    with torch.no_grad():
        theirs = pair.theirs(list(images / 255), wanted)
        outputs, _ = outputs_of(pair.ours.trunk, pair.ours.head, Views([], [SIZE] * 2, images=images))
        targets = targets_of(pair.params, truths, SIZE)
        targets.labels[targets.labels > 0] = (targets.labels[targets.labels > 0] - 1) % (CLASSES - 1) + 1
        ours = train_dense.losses(pair.ours.head, outputs, targets, pair.params)
    pair.theirs.eval()
    assert (len(targets.fg) > 20) == (counts != (0, 0))
    assert len({*targets.grid.levels()[targets.fg.numpy() % len(targets.grid)].tolist()}) >= (3 if min(counts) else 0)
    names = {"fcos_class": "classification", "fcos_box": "bbox_regression", "fcos_centreness": "bbox_ctrness"}
    for name, own in ours.items():
        torch.testing.assert_close(own, theirs[names[name]], rtol=1e-5, atol=1e-5)


def test_detections_are_those_of_the_class(pair: Pair) -> None:
    images, total = photos(), 0
    for image, ours in zip(images, pair.ours(images, [SIZE] * 2, [(1.0, 1.0)] * 2), strict=True):
        with torch.inference_mode():
            (theirs,) = pair.theirs([image / 255])
        found = differences(ours, theirs)
        assert not found.unpaired
        total += found.pairs
    assert total > 50
