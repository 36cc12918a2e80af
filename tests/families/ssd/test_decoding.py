"""What is detected from the outputs of the head."""

from __future__ import annotations

import torch

from pipeline.dense.decoding import candidates_by_class
from pipeline.families.ssd.detect_dense import class_scores, decode
from pipeline.families.ssd.head import default_boxes
from pipeline.geometry.points import Grid
from tests.families.ssd.test_losses import params_of

GRID = Grid((8, 16), ((4, 4), (2, 2)), (4, 4))  # 80 boxes


def test_the_best_of_each_class_are_candidates_and_of_equals_the_first() -> None:
    scores = torch.tensor([[0.5, 0.0], [0.9, 0.2], [0.5, 0.2], [0.5, 0.2], [0.1, 0.3]])
    found = candidates_by_class(scores, 0.1, 3)
    assert found.location.tolist() == [1, 0, 2, 4, 1, 2] and found.label.tolist() == [1, 1, 1, 2, 2, 2]
    torch.testing.assert_close(found.score, torch.tensor([0.9, 0.5, 0.5, 0.3, 0.2, 0.2]))
    assert candidates_by_class(scores, 0.2, 9).location.tolist() == [1, 0, 2, 3, 4]  # more than the threshold
    assert len(candidates_by_class(scores, 0.9, 9).location) == 0


def test_a_box_is_its_default_box_moved_by_the_deltas_times_the_variances() -> None:
    params = params_of()
    logits = torch.zeros(80, 3)
    logits[:, 0] = 9.0
    logits[70] = torch.tensor([0.0, 1.0, 4.0])
    deltas = torch.zeros(80, 4)
    deltas[70] = torch.tensor([2.0, -1.0, 1.0, 0.5])
    outputs = {"classes": logits, "deltas": deltas}
    found = decode(outputs, GRID, (32, 32), params)
    assert found.labels.tolist() == [2, 1]  # each class of its own
    expected = torch.softmax(logits[70], dim=0)
    torch.testing.assert_close(found.scores, expected[[2, 1]])
    torch.testing.assert_close(class_scores(outputs)[70], expected[1:])
    left, top, right, bottom = default_boxes(GRID, (32, 32), params.ssd)[70].tolist()
    width, height, x, y = right - left, bottom - top, (left + right) / 2, (top + bottom) / 2
    x, y = x + 2.0 * 0.1 * width, y - 1.0 * 0.1 * height
    width, height = width * torch.exp(torch.tensor(0.2)), height * torch.exp(torch.tensor(0.1))
    box = torch.tensor([x - width / 2, y - height / 2, x + width / 2, y + height / 2]).clamp(0, 32)
    torch.testing.assert_close(found.boxes, box.expand(2, -1))
