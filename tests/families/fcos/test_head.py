"""The head of FCOS, its losses and its decoder."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.building.layout import map_layout
from pipeline.dense.building import fresh_head
from pipeline.dense.head import Outputs, check_outputs
from pipeline.dense.targets import BatchTargets
from pipeline.families.fcos import detect_dense, train_dense
from pipeline.families.fcos.head import FcosHead
from pipeline.families.fcos.losses import box_losses, centreness, shares
from pipeline.families.fcos.points import boxes_at, points_in_image
from pipeline.geometry.points import Grid
from pipeline.params.reading import Params
from tests.families.family_project import family_params
from tests.families.fcos.scene import PYRAMID, targets_of

SMALL: dict[str, Any] = {"fcos": {"channels": 32}, "backbone": {"neck": {"channels": 32}}}
SIZE = (128, 160)


def head_of(params: Params, classes: int = 4) -> FcosHead:
    layout = map_layout(params.backbone)
    head = fresh_head(train_dense, layout, classes, params, torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    assert isinstance(head, FcosHead)
    return head


def outputs_of(head: FcosHead, images: int = 2, size: tuple[int, int] = SIZE) -> Outputs:
    """Of random maps."""
    draw, layout = torch.Generator().manual_seed(1), head.locations.layout
    shapes = zip(layout.levels, layout.sizes(*size), strict=True)
    maps = tuple(torch.randn(images, level.channels, *cells, generator=draw) for level, cells in shapes)
    outputs = head(maps)
    check_outputs(head, outputs, head.locations.of_maps(*size))
    return outputs


BOXES = [[[10.0, 10.0, 50.0, 60.0], [60.0, 20.0, 150.0, 120.0]], [[40.0, 30.0, 72.0, 50.0]]]


@pytest.mark.parametrize("on", ["box", "class"])
def test_before_training_every_class_has_the_prior_and_weights_have_torchvisions_names(on: str) -> None:
    params = family_params("fcos", PYRAMID, SMALL, {"fcos": {"centreness_on": on}})
    head = head_of(params)
    names = set(head.state_dict())
    assert head.state_dict()["classification_head.cls_logits.bias"].tolist() == pytest.approx([-4.595] * 3, abs=1e-3)
    wanted = {"classification_head.conv.0.weight", "classification_head.conv.1.bias", "regression_head.conv.3.weight"}
    branch = {"box": "regression_head", "class": "classification_head"}[on]
    assert wanted | {"regression_head.bbox_reg.weight", f"{branch}.bbox_ctrness.bias"} <= names
    assert sum(name.endswith("bbox_ctrness.bias") for name in names) == 1
    probabilities = torch.sigmoid(outputs_of(head)["classes"])
    assert probabilities.min() > 0.005 and probabilities.max() < 0.02


@pytest.mark.parametrize("regression", ["relu", "scaled_relu", "exp"])
def test_edges_are_of_the_levels_stride_and_scale(regression: str) -> None:
    params = family_params("fcos", PYRAMID, SMALL, {"fcos": {"regression": regression, "norm": "none"}})
    head = head_of(params)
    scaled = regression != "relu"
    with torch.no_grad():
        head.regression_head.bbox_reg.weight.zero_()
        head.regression_head.bbox_reg.bias.copy_(torch.tensor([-1.0, 0.5, 1.0, 2.0]))
        if scaled:
            head.scales.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert ("scales" in head.state_dict()) == scaled
    grid = head.locations.of_maps(*SIZE)
    for level, edges in enumerate(outputs_of(head)["edges"][0].split(grid.counts)):
        times, stride = level + 1.0 if scaled else 1.0, grid.strides[level]
        said = [-1.0 * times, 0.5 * times, times, 2 * times]
        wanted = [math.exp(own) for own in said] if regression == "exp" else [max(own, 0) * stride for own in said]
        assert torch.allclose(edges, torch.tensor(wanted).expand(len(edges), -1))


def test_an_image_of_one_pixel_has_outputs() -> None:
    """Each group of its norm has one value."""
    outputs = outputs_of(head_of(family_params("fcos", SMALL)), size=(1, 1))
    assert all(value.isfinite().all() and value.shape[1] == 1 for value in outputs.values())


def test_a_level_cannot_say_a_distance_that_is_not_finite() -> None:
    head = head_of(family_params("fcos", SMALL, {"fcos": {"regression": "exp"}}))
    with torch.no_grad():
        head.regression_head.bbox_reg.bias.fill_(1e4)
    assert outputs_of(head)["edges"].isfinite().all()


FORMS: list[dict[str, Any]] = [
    {"box_loss": "iou", "regression": "exp", "centreness_on": "class", "box_weight": "centreness"},
    {"box_loss": "giou", "regression": "scaled_relu", "box_weight": "centreness", "normaliser": "image"},
    {"box_loss": "diou", "norm": "none", "normaliser": "image"},
    {"box_loss": "ciou", "placement": "torchvision"},
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("boxes", [BOXES, [BOXES[0], []], [[], []]])
def test_losses_and_their_gradients_are_finite(form: dict[str, Any], boxes: list[Any]) -> None:
    params = family_params("fcos", PYRAMID, SMALL, {"fcos": form})
    head = head_of(params)
    losses = train_dense.losses(head, outputs_of(head), targets_of(params, boxes, SIZE), params)
    assert list(losses) == ["fcos_class", "fcos_box", "fcos_centreness"]
    sum(losses.values(), torch.zeros(())).backward()
    assert all(loss.isfinite() and loss.ndim == 0 for loss in losses.values())
    assert all(own.grad is None or own.grad.isfinite().all() for own in head.parameters())
    assert (losses["fcos_box"] == 0) == (boxes == [[], []])


@pytest.mark.parametrize("kind", ["iou", "giou", "diou", "ciou"])
def test_the_loss_of_an_empty_box_and_its_gradient_are_finite(kind: str) -> None:
    """A ReLU may say 0 of any edges."""
    edges = torch.tensor([[0, 0, 0, 0], [0, 3, 0, 3], [4, 0, 4, 0], [4, 4, 4, 4]], dtype=torch.float32)
    edges.requires_grad_()
    points = torch.full((4, 2), 20.0)
    losses = box_losses(boxes_at(points, edges), torch.tensor([[16.0, 16.0, 24.0, 24.0]]).expand(4, -1), kind)
    losses.sum().backward()
    assert losses.isfinite().all() and edges.grad is not None and edges.grad.isfinite().all()
    assert abs(float(losses[3].detach())) < 1e-6 and (losses[:3] > 0.5).all()


def test_iou_is_the_originals() -> None:
    loss = box_losses(torch.tensor([[0.0, 0.0, 10.0, 10.0]]), torch.tensor([[0.0, 0.0, 10.0, 5.0]]), "iou")
    assert float(loss) == pytest.approx(math.log(101 / 51))


def test_what_losses_are_divided_by() -> None:
    weights, image = torch.tensor([0.5, 0.25, 1.0]), torch.tensor([0, 0, 2])
    assert shares(weights, image, 3, "batch", 1.0).tolist() == pytest.approx([1 / 1.75] * 3)
    assert shares(weights, image, 3, "image", 1.0).tolist() == pytest.approx([1 / 3] * 3)
    assert shares(weights, image, 3, "image", 1e-6).tolist() == pytest.approx([1 / (3 * 0.75), 1e6 / 3, 1 / 3])
    assert shares(weights[:0], image[:0], 2, "batch", 1.0).tolist() == [1, 1]


def perfect(params: Params, head: FcosHead, targets: BatchTargets) -> Outputs:
    """What a head says that knows the targets."""
    images, count = targets.labels.shape
    grid = targets.grid
    points = points_in_image(grid, SIZE, params, torch.device("cpu")).expand(images, -1, -1).flatten(0, 1)[targets.fg]
    edges, central = torch.ones(images * count, 4), torch.full((images * count,), -20.0)
    edges[targets.fg] = torch.cat([points - targets.fg_boxes[:, :2], targets.fg_boxes[:, 2:] - points], dim=1)
    central[targets.fg] = torch.logit(centreness(points, targets.fg_boxes), eps=1e-6)
    classes = torch.full((images * count, 3), -20.0)
    classes[targets.fg, targets.labels.flatten()[targets.fg] - 1] = 20.0
    return {
        "classes": classes.view(images, count, 3),
        "edges": edges.view(images, count, 4),
        "centreness": central.view(images, count),
    }


@pytest.mark.parametrize("placement", ["centred", "torchvision"])
def test_a_head_that_knows_the_targets_loses_nothing_and_finds_the_gt_boxes(placement: str) -> None:
    params = family_params("fcos", PYRAMID, SMALL, {"fcos": {"placement": placement}})
    head = head_of(params)
    targets = targets_of(params, BOXES, SIZE)
    outputs = perfect(params, head, targets)
    losses = train_dense.losses(head, outputs, targets, params)
    assert losses["fcos_class"] < 1e-4 and losses["fcos_box"] < 1e-4
    for image, boxes in enumerate(BOXES):
        own = {name: value[image] for name, value in outputs.items()}
        found = detect_dense.decode(own, targets.grid, SIZE, params)
        assert sorted(found.labels.tolist()) == list(range(1, len(boxes) + 1))
        by_label = found.boxes[found.labels.argsort()]
        torch.testing.assert_close(by_label, torch.tensor(boxes), rtol=0, atol=1e-3)


def test_the_threshold_is_on_the_product_or_on_the_class() -> None:
    grid = Grid((8,), ((1, 2),), (1,))
    probabilities, central = torch.tensor([[0.04, 0.06], [0.5, 0.0001]]), torch.tensor([0.9, 0.01])
    outputs: dict[str, Tensor] = {
        "classes": torch.logit(probabilities),
        "edges": torch.full((2, 4), 3.0),
        "centreness": torch.logit(central),
    }
    scores = (probabilities * central[:, None]).sqrt()
    torch.testing.assert_close(detect_dense.class_scores(outputs), scores)
    for on, threshold, wanted in (
        ("product", 0.1, [(2, scores[0, 1]), (1, scores[0, 0])]),
        ("class", 0.05, [(2, scores[0, 1]), (1, scores[1, 0])]),
    ):
        own = {"detect_fcos": {"threshold_on": on, "score_threshold": threshold}, "evaluate": {"score_threshold": 0.1}}
        found = detect_dense.decode(outputs, grid, (8, 16), family_params("fcos", own))
        rows = list(zip(found.labels.tolist(), found.scores.tolist(), strict=True))
        assert [label for label, _ in rows] == [label for label, _ in wanted]
        assert [score for _, score in rows] == pytest.approx([float(score) for _, score in wanted])
