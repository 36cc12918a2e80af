"""Readers of whole stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts.ground_truth import GroundTruth
from pipeline.artifacts.resized_tables import RESIZED_BOXES
from pipeline.artifacts.tables import box_columns, write_table


def ground_truth(folder: Path, difficult: list[bool]) -> GroundTruth:
    """Two boxes of image a and one of image b, some of them difficult."""
    boxes = np.array([[0, 0, 9, 9], [1, 1, 5, 5], [2, 2, 8, 8]], dtype=np.float32)
    columns = {
        "image_id": np.array(["a", "a", "b"]),
        "view": np.zeros(3, np.int8),
        **box_columns(boxes),
        "label": np.array([1, 2, 1], dtype=np.int16),
        "difficult": np.array(difficult),
        "iscrowd": np.zeros(3, dtype=bool),
    }
    write_table(folder / "boxes.parquet", RESIZED_BOXES, columns)
    return GroundTruth(folder)


@pytest.mark.parametrize(
    ("difficult", "labels_of_a", "labels_of_b"),
    [([False] * 3, [1, 2], [1]), ([True, False, True], [2], []), ([True] * 3, [], [])],
)
def test_gt_boxes_of_each_image_are_those_to_train_on(
    tmp_path: Path, difficult: list[bool], labels_of_a: list[int], labels_of_b: list[int]
) -> None:
    truth = ground_truth(tmp_path, difficult)
    assert truth["a"][1].tolist() == labels_of_a
    assert truth["b"][1].tolist() == labels_of_b
    assert truth["c"][0].shape == (0, 4)
