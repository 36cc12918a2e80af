"""From class scores and deltas to detections."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pipeline.nn.postprocess import DetectedBoxes, DetectionRule, detect

RULE = DetectionRule(score_threshold=0.05, nms_iou=0.3, per_image=100)
SIZE = (100, 200)


def detections(
    probabilities: list[list[float]],
    rois: list[list[float]],
    rule: DetectionRule = RULE,
    deltas: Tensor | None = None,
) -> DetectedBoxes:
    """Detections from class probabilities, background first, with the RoIs as boxes unless deltas move them."""
    logits, boxes = torch.tensor(probabilities).log(), torch.tensor(rois)
    deltas = torch.zeros(*logits.shape, 4) if deltas is None else deltas
    return detect(logits, deltas, boxes, SIZE, rule)


def test_detections_are_of_every_class_but_the_background_by_descending_score() -> None:
    found = detections([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]], [[0, 0, 10, 10], [50, 50, 80, 90]])
    torch.testing.assert_close(found.scores, torch.tensor([0.7, 0.3, 0.2, 0.2]))
    assert found.labels.tolist()[:2] == [2, 1]
    assert sorted(found.labels.tolist()) == [1, 1, 2, 2]
    assert found.boxes[:2].tolist() == [[50, 50, 80, 90], [0, 0, 10, 10]]


def test_a_score_must_be_above_the_threshold() -> None:
    rule = DetectionRule(0.25, 0.3, 100)
    found = detections([[0.5, 0.25, 0.25]], [[0, 0, 10, 10]], rule)
    assert len(found.scores) == 0
    assert len(detections([[0.5, 0.25, 0.25]], [[0, 0, 10, 10]], DetectionRule(0.2499, 0.3, 100)).scores) == 2


def test_nms_suppresses_within_a_class_only() -> None:
    rois = [[0.0, 0, 100, 50], [0, 0, 100, 52], [0, 0, 100, 54]]
    found = detections([[0.02, 0.9, 0.08], [0.15, 0.8, 0.05], [0.2, 0.02, 0.78]], rois)
    assert list(zip(found.labels.tolist(), found.boxes[:, 3].tolist(), strict=True)) == [(1, 50), (2, 54)]


def test_each_class_moves_the_roi_by_its_own_deltas() -> None:
    deltas = torch.zeros(1, 3, 4)
    deltas[0, 1, 0], deltas[0, 2, 3] = 1.0, math.log(2)
    found = detections([[0.1, 0.5, 0.4]], [[20.0, 20, 40, 40]], deltas=deltas)
    torch.testing.assert_close(found.boxes, torch.tensor([[40.0, 20, 60, 40], [20, 10, 40, 50]]))


def test_boxes_are_clipped_and_those_wholly_outside_dropped() -> None:
    found = detections(
        [[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]], [[-5.0, 90, 30, 120], [210, 0, 240, 30], [0, 110, 30, 130]]
    )
    assert found.boxes.tolist() == [[0, 90, 30, 100]]


def test_only_the_best_of_an_image_are_kept_over_all_classes() -> None:
    rois = [[20.0 * i, 0, 20 * i + 10, 10] for i in range(4)]
    found = detections([[0.4, 0.6, 0], [0.1, 0, 0.9], [0.2, 0.8, 0], [0.3, 0, 0.7]], rois, DetectionRule(0.05, 0.3, 2))
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.8]))
    assert found.labels.tolist() == [2, 1]


def test_no_rois_and_nothing_above_the_threshold_give_no_detections() -> None:
    nothing = detect(torch.zeros(0, 3), torch.zeros(0, 3, 4), torch.zeros(0, 4), SIZE, RULE)
    for found in (nothing, detections([[0.99, 0.01]], [[0, 0, 10, 10]])):
        assert found.boxes.shape == (0, 4)
        assert found.scores.shape == found.labels.shape == (0,)
