"""Which negatives count, and what the losses are divided by."""

from __future__ import annotations

import torch

from pipeline.dense.targets import BatchTargets
from pipeline.families.ssd.head import SSDHead, default_boxes
from pipeline.families.ssd.train_dense import hardest, losses
from pipeline.geometry.layout import Level, MapLayout
from pipeline.geometry.points import Grid
from pipeline.params.reading import Params
from tests.ssd_models import ssd_params

GRID = Grid((8, 16), ((4, 4), (2, 2)), (4, 4))  # 80 boxes


def params_of() -> Params:
    params = ssd_params()
    update = {"scales": [0.2, 0.4, 0.7], "ratios": [[2.0], [2.0]], "box_loss_weight": 2.0}
    return Params({**params.sections(), "ssd": params.ssd.model_copy(update=update)}, "ssd")


def test_the_hardest_negatives_of_each_image_are_three_a_positive_and_never_ignored_ones() -> None:
    labels = torch.tensor([[2, 0, 0, -1, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, -1, -1]])
    loss = torch.tensor([[9.0, 1, 5, 8, 5, 3, 5], [9, 9, 9, 9, 9, 9, 9], [1, 1, 1, 0, 2, 9, 9]])
    found = hardest(loss, labels, 3.0).int().tolist()
    assert found == [[0, 0, 1, 0, 1, 0, 1], [0] * 7, [0, 0, 0, 1, 1, 0, 0]]
    assert hardest(loss, labels, 2.0).int().tolist()[0] == [0, 0, 1, 0, 1, 0, 0]  # of equals the first


def test_losses_are_those_of_the_formulas() -> None:
    params, draw = params_of(), torch.Generator().manual_seed(0)
    head = SSDHead(MapLayout((Level(8, 3), Level(16, 3))), 4, params)
    labels = torch.zeros(2, 80, dtype=torch.int64)
    labels[0, 5], labels[0, 70], labels[1, 3] = 2, 1, -1
    outputs = {
        "classes": torch.randn(2, 80, 4, generator=draw, requires_grad=True),
        "deltas": torch.randn(2, 80, 4, generator=draw, requires_grad=True),
    }
    gt = torch.tensor([[2.0, 3, 14, 12], [4, 4, 30, 28]])
    targets = BatchTargets(labels, torch.tensor([5, 70]), gt, [], [], [(32, 32)] * 2, GRID)
    own = losses(head, outputs, targets, params)
    entropy = -outputs["classes"].log_softmax(dim=2)
    hard = entropy[0, labels[0] == 0, 0].topk(6).values.sum()  # the second image has no object, and teaches nothing
    expected = (entropy[0, 5, 2] + entropy[0, 70, 1] + hard) / 2
    torch.testing.assert_close(own["ssd_class"], expected)
    boxes = default_boxes(GRID, (32, 32), params.ssd)[[5, 70]]
    sides, centres = boxes[:, 2:] - boxes[:, :2], (boxes[:, 2:] + boxes[:, :2]) / 2
    gt_sides, gt_centres = gt[:, 2:] - gt[:, :2], (gt[:, 2:] + gt[:, :2]) / 2
    wanted = torch.cat([(gt_centres - centres) / sides / 0.1, (gt_sides / sides).log() / 0.2], dim=1)
    off = (outputs["deltas"][0, [5, 70]] - wanted).abs()
    smooth = torch.where(off < 1, off**2 / 2, off - 0.5).sum()
    torch.testing.assert_close(own["ssd_box"], 2.0 * smooth / 2)


def test_a_batch_without_objects_has_losses_of_nothing_that_can_be_trained_on() -> None:
    params = params_of()
    head = SSDHead(MapLayout((Level(8, 3), Level(16, 3))), 4, params)
    outputs = {name: torch.ones(1, 80, 4, requires_grad=True) for name in ("classes", "deltas")}
    none = torch.zeros(0, dtype=torch.int64)
    targets = BatchTargets(torch.zeros(1, 80, dtype=torch.int64), none, torch.zeros(0, 4), [], [], [(32, 32)], GRID)
    own = losses(head, outputs, targets, params)
    assert {name: float(value.detach()) for name, value in own.items()} == {"ssd_class": 0.0, "ssd_box": 0.0}
    sum(own.values(), torch.zeros(())).backward()
    assert all(not value.grad.any() for value in outputs.values() if value.grad is not None)
