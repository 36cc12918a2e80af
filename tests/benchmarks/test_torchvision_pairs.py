"""What a parity benchmark says of a box without a pair."""

from __future__ import annotations

import pytest
import torch

from benchmarks.torchvision_pairs import Boxes, Pairs, pair

KEPT = [0.0, 0.0, 10.0, 10.0]


def boxes(*rows: list[float], scores: list[float]) -> Boxes:
    return Boxes(torch.tensor(rows), torch.tensor(scores), torch.ones(len(rows), dtype=torch.int64))


def compared(more: list[float], score: float, most: int = 9) -> Pairs:
    """One box is in both, another in ours alone."""
    ours = boxes(KEPT, more, scores=[0.9, score])
    return pair(ours, boxes(KEPT, scores=[0.9]), floor=0.05, nms_iou=0.5, most=most)


@pytest.mark.parametrize(
    ("more", "score", "most", "why"),
    [
        ([20.0, 20.0, 40.0, 40.0], 0.05005, 9, "score threshold 0.05"),
        ([20.0, 20.0, 40.0, 40.0], 0.5, 2, "score of the last of 2"),
        ([0.0, 0.0, 10.0, 5.0], 0.5, 9, "IoU 0.5 of NMS"),
        ([20.0, 20.0, 40.0, 20.0078125], 0.5, 9, "a side under 0.01 px, which torchvision leaves out"),
    ],
)
def test_what_is_near_a_threshold_is_explained(more: list[float], score: float, most: int, why: str) -> None:
    found = compared(more, score, most)
    assert (found.count, found.unexplained) == (1, 0)
    assert len(found.unpaired) == 1 and found.unpaired[0].endswith(f": {why}")


def test_the_last_candidates_score_explains_a_box_that_came_to_nms_on_one_side_alone() -> None:
    ours, theirs = boxes(KEPT, [20.0, 20.0, 40.0, 40.0], scores=[0.9, 0.5]), boxes(KEPT, scores=[0.9])
    for cuts, unexplained in (([0.7, 0.50005], 0), ([0.7, 0.51], 1)):
        found = pair(ours, theirs, floor=0.05, nms_iou=0.5, most=9, cuts=cuts)
        assert found.unexplained == unexplained


@pytest.mark.parametrize("more", [[20.0, 20.0, 40.0, 40.0], [20.0, 20.0, 40.0, 20.0625], [0.0, 0.0, 10.0, 6.0]])
def test_what_is_near_none_is_not(more: list[float]) -> None:
    found = compared(more, 0.5)
    assert (found.count, found.unexplained) == (1, 1)


def test_a_box_that_has_moved_or_scores_otherwise_has_no_pair() -> None:
    ours = boxes(KEPT, [20.0, 20.0, 40.0, 40.0], scores=[0.9, 0.5])
    for theirs in (boxes(KEPT, [20.0, 20.0, 40.0, 40.1], scores=[0.9, 0.5]), boxes(KEPT, KEPT, scores=[0.9, 0.4])):
        assert pair(ours, theirs, floor=0.05, nms_iou=0.5, most=9).count == 1
