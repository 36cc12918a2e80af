"""Detections are matched some at a time, so that memory does not grow with their pairs with gt boxes."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.metrics import detection_matching
from pipeline.metrics.detection_matching import best_gt
from pipeline.metrics.rows import DetectionRows, GtRows, pair_iou


def boxes_of(draw: np.random.Generator, count: int) -> np.ndarray:
    """Few different ones, so that many overlap a box alike."""
    corners = draw.integers(0, 4, (count, 2)) * 10
    return np.concatenate([corners, corners + draw.integers(1, 4, (count, 2)) * 10], axis=1).astype(np.float32)


@pytest.mark.parametrize("pairs", [1, 2, 7, 1000])
@pytest.mark.parametrize("own_class", [True, False])
@pytest.mark.parametrize(("detections", "truths"), [(60, 40), (60, 0), (0, 40), (1, 1)])
def test_the_best_gt_box_is_the_same_however_many_pairs_are_compared_at_once(
    monkeypatch: pytest.MonkeyPatch, pairs: int, own_class: bool, detections: int, truths: int
) -> None:
    draw = np.random.default_rng(detections + truths)
    found = DetectionRows(
        draw.integers(0, 6, detections),
        draw.integers(1, 3, detections),
        np.ones(detections, np.float32),
        boxes_of(draw, detections),
    )
    flags = np.zeros(truths, bool)
    truth = GtRows(draw.integers(0, 6, truths), draw.choice([1, 2, -1], truths), boxes_of(draw, truths), flags, flags)
    monkeypatch.setattr(detection_matching, "_PAIRS", pairs)
    at_once: list[int] = []

    def noted(boxes: np.ndarray, *others: object, **options: object) -> np.ndarray:
        at_once.append(len(boxes))
        return pair_iou(boxes, *others, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(detection_matching, "pair_iou", noted)
    matched_gt, max_iou = best_gt(found, truth, own_class=own_class)
    assert max(at_once, default=0) <= pairs + truths  # the last detection of a slice may have more than is left
    assert sum(at_once) <= pairs or len(at_once) > 1
    for row in range(detections):
        alike = (truth.image == found.image[row]) & (truth.label > 0)
        if own_class:
            alike &= truth.label == found.label[row]
        iou = np.where(alike, pair_iou(found.boxes[row], truth.boxes), -1.0)
        assert max_iou[row] == max(iou.max(initial=-1), 0)
        assert matched_gt[row] == (int(iou.argmax()) if alike.any() else -1)
