"""Kinds of errors and pairs of confused classes: worked out by hand, and by a loop over boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.metrics.error_kinds import KINDS, confusion_pairs, judge, missed_boxes
from pipeline.metrics.rows import DetectionRows, GtRows, pair_iou
from pipeline.metrics.voc_ap import voc_ap

CAT, DOG = 1, 2
BOX = (10, 10, 30, 30)
FAR = (60, 60, 80, 80)
HALF = (10, 10, 30, 19)  # IoU .45 with BOX
AWAY = (27, 10, 47, 30)  # IoU .081 with BOX


def truth(*rows: tuple[int, tuple[int, ...]], difficult: bool = False) -> GtRows:
    count = len(rows)
    boxes = np.array([box for _, box in rows], np.float32).reshape(-1, 4)
    labels = np.array([label for label, _ in rows], np.int64)
    none = np.zeros(count, bool)
    return GtRows(np.zeros(count, np.int64), labels, boxes, np.full(count, difficult), none)


def found(*rows: tuple[int, float, tuple[int, ...]]) -> DetectionRows:
    boxes = np.array([box for _, _, box in rows], np.float32).reshape(-1, 4)
    labels, scores = [row[0] for row in rows], [row[1] for row in rows]
    return DetectionRows(np.zeros(len(rows), np.int64), np.array(labels, np.int64), np.array(scores, np.float32), boxes)


@pytest.mark.parametrize(
    ("label", "box", "kind"),
    [
        (CAT, BOX, "correct"),
        (DOG, BOX, "wrong_class"),
        (CAT, HALF, "badly_placed"),
        (DOG, HALF, "background"),  # badly placed and of a wrong class
        (CAT, AWAY, "background"),
        (CAT, FAR, "background"),
    ],
)
def test_one_detection_of_one_box_is_of_the_kind_worked_out_by_hand(
    label: int, box: tuple[int, ...], kind: str
) -> None:
    detections, boxes = found((label, 0.9, box)), truth((CAT, BOX))
    judgement = judge(detections, boxes)
    assert judgement.kind.tolist() == [kind]
    assert judgement.gt.tolist() == [-1 if kind == "background" else 0]
    assert missed_boxes(judgement, detections, boxes, 0.5).tolist() == [kind != "correct"]


def test_the_second_detection_of_a_box_is_a_duplicate_whatever_its_overlap() -> None:
    judgement = judge(found((CAT, 0.8, BOX), (CAT, 0.9, (10, 10, 30, 28))), truth((CAT, BOX)))
    assert judgement.kind.tolist() == ["duplicate", "correct"]
    assert judgement.finder.tolist() == [1]


def test_a_box_found_below_the_score_is_missed_and_a_difficult_one_never_is() -> None:
    detections = found((CAT, 0.4, BOX))
    easy, hard = truth((CAT, BOX), (CAT, FAR)), truth((CAT, BOX), (CAT, FAR), difficult=True)
    assert missed_boxes(judge(detections, easy), detections, easy, 0.4).tolist() == [False, True]
    assert missed_boxes(judge(detections, easy), detections, easy, 0.5).tolist() == [True, True]
    judgement = judge(detections, hard)
    assert judgement.kind.tolist() == ["ignored"]
    assert not missed_boxes(judgement, detections, hard, 0.5).any()


def test_what_lies_in_an_ignore_region_is_ignored() -> None:
    judgement = judge(found((CAT, 0.9, BOX), (CAT, 0.9, FAR)), truth((-1, (0, 0, 40, 40)), (CAT, FAR)))
    assert judgement.kind.tolist() == ["ignored", "correct"]


def pairs(detections: DetectionRows, boxes: GtRows, score: float = 0.5) -> list[tuple[int, int]]:
    actual, predicted = confusion_pairs(detections, boxes, score)
    return sorted(zip(actual.tolist(), predicted.tolist(), strict=True))


def test_confusion_counts_each_box_once_and_each_detection_that_finds_none() -> None:
    boxes = truth((CAT, BOX), (DOG, FAR))
    assert pairs(found((CAT, 0.9, BOX), (DOG, 0.9, FAR)), boxes) == [(CAT, CAT), (DOG, DOG)]
    assert pairs(found((DOG, 0.9, BOX)), boxes) == [(CAT, DOG), (DOG, 0)]
    assert pairs(found((DOG, 0.9, BOX), (CAT, 0.8, BOX), (DOG, 0.6, FAR)), boxes) == [(0, CAT), (CAT, DOG), (DOG, DOG)]
    assert pairs(found((DOG, 0.9, BOX)), boxes, score=0.95) == [(CAT, 0), (DOG, 0)]
    assert pairs(found((DOG, 0.9, (40, 10, 50, 20))), truth()) == [(0, DOG)]
    assert pairs(found(), truth((-1, BOX))) == []


corners = st.tuples(*[st.integers(0, 12)] * 4).map(lambda c: (c[0], c[1], c[0] + c[2] % 8 + 1, c[1] + c[3] % 8 + 1))
rows_of_gt = st.lists(st.tuples(st.integers(1, 3), corners), max_size=6)
rows_found = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 100).map(lambda s: s / 100), corners), max_size=8)


@given(rows_found, rows_of_gt)
@settings(deadline=None)
def test_kinds_are_those_of_a_loop_over_boxes(dets: list, gts: list) -> None:
    detections, boxes = found(*dets), truth(*gts)
    expected = ["background"] * len(dets)
    taken: set[int] = set()
    for d in sorted(range(len(dets)), key=lambda d: -detections.score[d]):
        iou = [float(pair_iou(detections.boxes[d], box)) for box in boxes.boxes]
        own = [g for g in range(len(gts)) if gts[g][0] == dets[d][0]]
        best = max(own, key=lambda g: (iou[g], -g), default=None)
        if best is not None and iou[best] >= 0.5:
            expected[d] = "duplicate" if best in taken else "correct"
            taken.add(best)
        elif any(iou[g] >= 0.5 for g in range(len(gts))):
            expected[d] = "wrong_class"
        elif best is not None and iou[best] >= 0.1:
            expected[d] = "badly_placed"
    judgement = judge(detections, boxes)
    assert judgement.kind.tolist() == expected
    assert set(np.flatnonzero(judgement.finder >= 0).tolist()) == taken


@given(rows_found, rows_of_gt)
@settings(deadline=None)
def test_correct_is_what_voc_counts_and_confusion_has_every_box_in_one_pair(dets: list, gts: list) -> None:
    detections, boxes = found(*dets), truth(*gts)
    judgement = judge(detections, boxes)
    voc = voc_ap(detections, boxes, 4)
    for curve in voc.classes:
        if curve.positives and len(curve.recall):
            own = (judgement.kind == "correct") & (detections.label == curve.label)
            assert own.sum() == round(float(curve.recall[-1]) * curve.positives)
    actual, predicted = confusion_pairs(detections, boxes, 0.5)
    assert np.bincount(actual, minlength=4)[1:].tolist() == np.bincount(boxes.label, minlength=4)[1:].tolist()
    shown = detections.label[detections.score >= 0.5]
    assert np.bincount(predicted, minlength=4)[1:].tolist() == np.bincount(shown, minlength=4)[1:].tolist()


def test_kinds_are_named_once() -> None:
    assert len(set(KINDS)) == len(KINDS) == 6 and "missed" not in KINDS
