"""The flat arrays' contract and the IoU."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.metrics.rows import DetectionRows, GtRows, best_of_images, pair_iou


def test_iou_of_continuous_and_inclusive_boxes() -> None:
    box, half = np.array([0, 0, 9, 9], np.float32), np.array([0, 0, 9, 4], np.float32)
    assert pair_iou(box, half) == 4 / 9
    assert pair_iou(box, half, inclusive_pixels=True) == 0.5


def test_iou_broadcasts_and_empty_boxes_give_zero() -> None:
    boxes = np.array([[0, 0, 2, 2], [5, 5, 5, 5]], np.float32)
    assert pair_iou(boxes[:, None], boxes).tolist() == [[1, 0], [0, 0]]


def test_box_of_voc_file_has_the_devkits_iou_in_continuous_corners() -> None:
    inclusive = np.array([[48, 240, 195, 371], [8, 12, 352, 498]])
    continuous = inclusive - [1, 1, 0, 0]
    assert pair_iou(*continuous) == pair_iou(*inclusive, inclusive_pixels=True)


def test_column_of_wrong_length_is_named() -> None:
    with pytest.raises(ValueError, match=r"score has shape \(1,\), expected \(2,\)"):
        DetectionRows(np.zeros(2, int), np.ones(2, int), np.zeros(1), np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"boxes has shape \(4,\)"):
        GtRows(np.zeros(1, int), np.ones(1, int), np.zeros(4), np.zeros(1, bool), np.zeros(1, bool))


def test_the_best_of_each_image_are_kept_and_of_equal_scores_the_earlier_rows() -> None:
    image = np.array([1, 0, 1, 0, 1, 0, 2])
    score = np.array([0.5, 0.3, 0.5, 0.9, 0.7, 0.3, 0.1], np.float32)
    assert np.flatnonzero(best_of_images(image, score, 2)).tolist() == [0, 1, 3, 4, 6]
    assert np.flatnonzero(best_of_images(image, score, 1)).tolist() == [3, 4, 6]
    assert best_of_images(image, score, 3).all()


def test_scores_are_compared_as_they_are_and_there_may_be_none() -> None:
    """Two float32 next to each other; -inf and negative scores rank too."""
    low = np.float32(0.1)
    score = np.array([low, np.nextafter(low, np.float32(1)), -1.0, -np.inf], np.float32)
    assert best_of_images(np.zeros(4, np.int64), score, 1).tolist() == [False, True, False, False]
    assert best_of_images(np.zeros(4, np.int64), score, 3).tolist() == [True, True, True, False]
    assert best_of_images(np.zeros(0, np.int64), np.zeros(0, np.float32), 5).tolist() == []
