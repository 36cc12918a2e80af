"""What losses are divided by, the running normaliser, anchors of padded images, and the head before training."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.artifacts.dense_targets import StoredAssignment
from pipeline.building.layout import map_layout
from pipeline.dense.assignment import Truth
from pipeline.dense.building import fresh_head
from pipeline.dense.targets import BatchTargets, put_together
from pipeline.families.retinanet import train_dense
from pipeline.families.retinanet.anchors import anchors_at, anchors_of
from pipeline.families.retinanet.head import RetinaNetHead
from pipeline.geometry.layout import Level, MapLayout
from pipeline.nn.boxes import encode
from pipeline.params.reading import Params
from pipeline.runtime.errors import InputError
from pipeline.training.packing import pack
from tests.families.retinanet_project import PYRAMID, params_of

SIZES = [(64, 96), (48, 64)]


def head_of(params: Params, num_classes: int = 4) -> RetinaNetHead:
    generator = torch.Generator().manual_seed(0)
    made = fresh_head(train_dense, map_layout(params.backbone), num_classes, params, generator)  # type: ignore[arg-type]
    return cast(RetinaNetHead, made)


def batch_of(head: RetinaNetHead, fg: list[list[int]]) -> BatchTargets:
    """Images of SIZES, whose anchors `fg`, each, are to find one box, of class 1."""
    box = np.array([[8.0, 8, 40, 40]], np.float32)
    stored, truths = [], []
    for size, own in zip(SIZES, fg, strict=True):
        grid, index = head.locations.of(*size), np.array(own, np.int64)
        ignored = np.packbits(np.zeros(len(grid), bool))
        ones = np.ones(len(own), np.int64)
        stored.append(StoredAssignment(index, ones, ones - 1, ones.astype(np.float32), ignored, grid))
        truths.append(Truth(box, np.ones(1, np.int64), np.zeros((0, 4), np.float32)))
    return put_together(stored, truths, SIZES, head.locations.of_maps(64, 96))


def outputs_of(head: RetinaNetHead, targets: BatchTargets) -> dict[str, Tensor]:
    draw, count = torch.Generator().manual_seed(1), len(targets.grid)
    return {
        "class_logits": torch.randn(2, count, 3, generator=draw).requires_grad_(),
        "box_deltas": torch.randn(2, count, 4, generator=draw).requires_grad_(),
    }


def losses_of(own: dict[str, Any], fg: list[list[int]]) -> dict[str, float]:
    params = params_of({"retinanet": own})
    head = head_of(params)
    targets = batch_of(head, fg)
    own = train_dense.losses(head, outputs_of(head, targets), targets, params)
    return {name: float(value.detach()) for name, value in own.items()}


FG = [[5, 17, 200], [9]]


def test_losses_are_divided_by_the_fg_anchors_of_each_image_of_all_or_of_all_so_far() -> None:
    """An image alone has no choice but its own; of two, sums are put together by each rule."""
    alone = [losses_of({"normaliser": "batch"}, fg) for fg in ([FG[0], []], [[], FG[1]])]
    boxes = [own["retinanet_box"] * len(fg) for own, fg in zip(alone, FG, strict=True)]
    by_image, by_batch, running = (losses_of({"normaliser": kind}, FG) for kind in ("image", "batch", "ema"))
    assert by_image["retinanet_box"] == pytest.approx((boxes[0] / 3 + boxes[1] / 1) / 2, rel=1e-5)
    assert by_batch["retinanet_box"] == pytest.approx(sum(boxes) / 4, rel=1e-5)
    for name, value in running.items():
        assert value == pytest.approx(by_batch[name] * 4 / (0.9 * 100 + 0.1 * 4), rel=1e-5)


def test_the_running_normaliser_is_of_detectron2_and_part_of_the_training_state() -> None:
    """Its _ema_update starts from 100, with a momentum of .9 and at least one fg anchor."""
    params = params_of({"retinanet": {"normaliser": "ema"}})
    head = head_of(params)
    expected = 100.0
    batches: list[list[list[int]]] = [FG, [[], []], [[3], []]]
    for fg in batches:
        targets = batch_of(head, fg)
        train_dense.losses(head, outputs_of(head, targets), targets, params)
        expected = expected * 0.9 + max(sum(map(len, fg)), 1) * 0.1
        assert float(head.normaliser) == pytest.approx(expected, rel=1e-6)
    packed = pack(head, torch.optim.SGD(head.parameters(), 0.1))
    assert float(packed["module.normaliser"]) == float(head.normaliser)
    assert "normaliser" not in head_of(params_of()).state_dict()


def test_padding_and_ignored_anchors_cost_nothing_and_gradients_reach_both_outputs() -> None:
    params = params_of()
    head = head_of(params)
    targets = batch_of(head, FG)
    outputs = outputs_of(head, targets)
    own = train_dense.losses(head, outputs, targets, params)
    torch.stack(list(own.values())).sum().backward()
    of_class, of_box = (cast(Tensor, value.grad).abs().sum(dim=2) for value in outputs.values())
    assert ((of_class > 0) == (targets.labels >= 0)).all() and (targets.labels < 0).any()
    assert torch.nonzero(of_box.flatten()).flatten().tolist() == targets.fg.tolist()


@pytest.mark.parametrize("kind", ["l1", "smooth_l1", "giou"])
def test_perfect_deltas_cost_nothing(kind: str) -> None:
    params = params_of({"retinanet": {"box_loss": kind}})
    anchors, boxes = torch.tensor([[0.0, 0, 16, 32], [8, 8, 40, 24]]), torch.tensor([[2.0, 1, 20, 30], [9, 9, 39, 20]])
    rule = params.sections()["retinanet"]
    perfect = train_dense.box_losses(encode(anchors, boxes), anchors, boxes, rule)  # type: ignore[arg-type]
    torch.testing.assert_close(perfect, torch.zeros(2), rtol=0, atol=1e-6)
    worse = train_dense.box_losses(encode(anchors, boxes) + 0.5, anchors, boxes, rule)  # type: ignore[arg-type]
    assert (worse > 0.1).all()


@pytest.mark.parametrize("placement", ["centred", "torchvision"])
def test_anchors_of_a_padded_image_are_those_of_the_image_alone(placement: str) -> None:
    """With `torchvision` a level's steps follow from the image's own size: anchors of P7 of 192 px lie 96 px apart."""
    params = params_of(PYRAMID, {"anchors": {"placement": placement}})
    locations = train_dense.build_head(map_layout(params.backbone), 2, params).locations
    sizes = [(160, 192), (150, 300), (256, 64)]
    padded, cpu = locations.of_maps(256, 300), torch.device("cpu")
    for image, size in enumerate(sizes):
        own = locations.of(*size)
        location = torch.from_numpy(own.within(padded))
        found = anchors_at(location, torch.full_like(location, image), padded, sizes, params)
        with torch.inference_mode():
            assert torch.equal(found, anchors_of(own, size, params, cpu))
    first = anchors_of(locations.of(*sizes[0]), sizes[0], params, cpu)
    steps = {
        level: (first[_first(sizes[0], locations, level) + 9] - first[_first(sizes[0], locations, level)])[0]
        for level in (3, 4)
    }
    assert [float(steps[level]) for level in (3, 4)] == ([64.0, 96.0] if placement == "torchvision" else [64.0, 128.0])


def _first(size: tuple[int, int], locations: Any, level: int) -> int:
    return sum(locations.of(*size).counts[:level])


def test_a_head_starts_with_its_prior_on_every_class_of_nine_anchors() -> None:
    params = params_of(PYRAMID)
    head = head_of(params, 7)
    layer = cast(torch.nn.Conv2d, head.classification_head.cls_logits)
    assert layer.bias is not None and layer.bias.shape == (9 * 6,)
    assert {round(value, 3) for value in layer.bias.tolist()} == {-4.595}
    assert 0.009 < float(layer.weight.detach().std()) < 0.011
    names = set(head.state_dict())
    assert {
        "classification_head.conv.3.0.weight",
        "regression_head.conv.0.0.bias",
        "regression_head.bbox_reg.bias",
    } < names
    assert sum(value.numel() for value in head.state_dict().values()) == 2 * 4 * 590_080 + 2305 * 9 * (6 + 4)


def test_a_group_of_one_value_becomes_the_norms_bias() -> None:
    """Of one channel in the map of one cell that a thin image has; torch's module refuses it."""
    params = params_of({"retinanet": {"norm": "group", "channels": 32}})
    head = head_of(params)
    found = head((torch.randn(1, 96, 1, 1, generator=torch.Generator().manual_seed(0)),))
    assert found["class_logits"].shape == (1, 12, 3)
    torch.testing.assert_close(found["class_logits"], torch.full((1, 12, 3), -4.595), rtol=0, atol=1e-3)


def test_a_trunk_of_several_depths_is_refused_in_one_line() -> None:
    layout = MapLayout((Level(8, 4), Level(16, 8)))
    with pytest.raises(InputError, match=r"^backbone.name: the trunk's levels have .* and the RetinaNet head runs on"):
        train_dense.build_head(layout, 4, params_of())


def test_parameters_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(InputError, match=r"parameter retinanet: bg_iou 0\.6 is above fg_iou 0\.5"):
        params_of({"retinanet": {"bg_iou": 0.6}})
    with pytest.raises(
        InputError, match=r"norm group has 32 groups; channels 100 must be a multiple of that, such as 128"
    ):
        params_of({"retinanet": {"norm": "group", "channels": 100}})
