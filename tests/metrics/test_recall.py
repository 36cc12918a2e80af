"""Proposal recall against plain loops, and its edges."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.metrics.recall import IOU_LEVELS, SIZES, RecallCounter


def iou_of(box: list[float], other: list[float]) -> float:
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (box, other)]
    return width * height / (sum(areas) - width * height)


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corners = rng.integers(0, 4, (count, 2))
    return np.concatenate([corners, corners + rng.integers(4, 9, (count, 2))], axis=1).astype(np.float32)


def test_agrees_with_plain_loops() -> None:
    rng = np.random.default_rng(0)
    images = [(random_boxes(rng, p), random_boxes(rng, g)) for p in (0, 1, 2, 5, 9, 30, 40) for g in (0, 1, 4)]
    budgets = (1, 3, 10, 30)
    counter = RecallCounter(budgets)
    for proposals, gt_boxes in images:
        counter.add(proposals, gt_boxes)
    expected = np.zeros((len(budgets), len(IOU_LEVELS)))
    for row, budget in enumerate(budgets):
        for proposals, gt_boxes in images:
            for gt in gt_boxes.tolist():
                best = max((iou_of(box, gt) for box in proposals[:budget].tolist()), default=0.0)
                expected[row] += [best >= step / 100 for step in range(50, 101, 5)]
    expected /= sum(len(gt_boxes) for _, gt_boxes in images)
    assert counter.num_gt == 35
    for row, budget in enumerate(budgets):
        assert counter.curve_by_iou(budget) == pytest.approx(expected[row], abs=1e-12)
        assert counter.AR(budget) == pytest.approx(expected[row, :10].mean(), abs=1e-12)
    for iou, column in ((0.5, 0), (0.7, 4)):
        assert counter.curve_by_budget(iou) == pytest.approx(expected[:, column], abs=1e-12)
    assert 0 < expected[0, 0] < expected[-1, 0] < 1


def test_recall_of_each_of_cocos_sizes_counts_pixels_of_the_original_image() -> None:
    counter = RecallCounter((1, 10))
    sides, scale = np.array([31.0, 32, 95, 96, 300]), (0.37, 0.41)
    original = np.stack([sides * 0 + 7, sides * 0 + 3, sides + 7, sides + 3], axis=1)
    gt = (original * np.tile(scale, 2)).astype(np.float32)
    assert all(math.isnan(counter.recall_of_size(10, 0.5, size)) for size in SIZES)
    counter.add(gt[[4, 0, 3]], gt, scale)
    found = {size: [counter.recall_of_size(budget, 0.99, size) for budget in (1, 10)] for size in SIZES}
    assert found == {"small": [0, 1], "medium": [0, 0], "large": [0.5, 1]}
    alike = RecallCounter((10,))
    alike.add(gt[[4, 0, 3]], gt)  # as if these were the original's own pixels, of which 39 is a third of 95
    assert alike.recall_of_size(10, 0.99, "small") == pytest.approx(1 / 2)


def test_rank_decides_which_budget_recalls_and_iou_equal_to_the_level_counts() -> None:
    counter = RecallCounter((1, 2, 5))
    gt = np.array([[0, 0, 10, 10]], np.float32)
    counter.add(np.array([[50, 50, 60, 60], [0, 0, 10, 5], [0, 0, 10, 10]], np.float32), gt)
    assert counter.curve_by_budget(0.5).tolist() == [0, 1, 1]
    assert counter.curve_by_iou(2).tolist() == [1] + [0] * 10
    assert counter.recall(5, 1.0) == 1
    assert counter.AR(2) == pytest.approx(0.1)


def test_proposals_beyond_the_largest_budget_do_not_count() -> None:
    counter = RecallCounter((1,))
    counter.add(np.array([[50, 50, 60, 60], [0, 0, 10, 10]], np.float32), np.array([[0, 0, 10, 10]], np.float32))
    assert counter.recall(1, 0.5) == 0


def test_without_boxes_recall_is_nan_and_without_proposals_zero() -> None:
    counter = RecallCounter()
    assert math.isnan(counter.recall(300, 0.5))
    counter.add(np.zeros((0, 4), np.float32), np.array([[0, 0, 10, 10]], np.float32))
    assert counter.recall(300, 0.5) == 0


def test_memory_does_not_grow_with_the_proposals() -> None:
    few, many = RecallCounter(), RecallCounter()
    gt = np.array([[0, 0, 10, 10]], np.float32)
    few.add(np.tile(gt, (1, 1)), gt)
    many.add(np.tile(gt, (3000, 1)), gt)
    held = [sum((a.base if a.base is not None else a).nbytes for a in c._max_iou) for c in (few, many)]
    assert held == [64, 64]


def test_budget_that_was_not_counted_is_refused() -> None:
    with pytest.raises(ValueError, match=r"budget 50 was not counted, only \(1, 10\)"):
        RecallCounter((1, 10)).recall(50, 0.5)
    with pytest.raises(ValueError, match="expected ascending numbers from 1"):
        RecallCounter((10, 1))
