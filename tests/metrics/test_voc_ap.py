"""VOC AP against published figures and against the devkit's rules written out as plain loops."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.metrics.rows import DetectionRows, GtRows, pair_iou
from pipeline.metrics.voc_ap import voc_ap

pytestmark = pytest.mark.authority("published AP figures and the VOC devkit")

Box = tuple[float, float, float, float]


def detections_of(rows: list[tuple[int, int, float, Box]]) -> DetectionRows:
    image, label, score, boxes = zip(*rows, strict=True) if rows else ((), (), (), ())
    return DetectionRows(
        np.array(image, np.int64),
        np.array(label, np.int64),
        np.array(score, np.float32),
        np.array(boxes, np.float32).reshape(-1, 4),
    )


def ground_truth_of(rows: list[tuple[int, int, bool, Box]]) -> GtRows:
    image, label, difficult, boxes = zip(*rows, strict=True) if rows else ((), (), (), ())
    return GtRows(
        np.array(image, np.int64),
        np.array(label, np.int64),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(difficult, bool),
        np.zeros(len(rows), bool),
    )


def read_pascal_7_images(folder: Path) -> tuple[DetectionRows, GtRows]:
    def boxes(kind: str) -> list[tuple[int, list[float]]]:
        files = sorted((folder / "pascal_7_images/samples/sample_2" / kind).glob("*.txt"))
        lines = [(image, line) for image, file in enumerate(files) for line in file.read_text().splitlines()]
        return [(image, [float(word) for word in line.split()[1:]]) for image, line in lines]

    found = [(i, 1, score, (x, y, x + w, y + h)) for i, (score, x, y, w, h) in boxes("detections")]
    truth = [(i, 1, False, (x, y, x + w, y + h)) for i, (x, y, w, h) in boxes("groundtruths")]
    assert (len(found), len(truth)) == (24, 15)
    return detections_of(found), ground_truth_of(truth)


@pytest.mark.parametrize(
    ("iou", "inclusive_pixels", "ap_11_point", "ap_all_point"),
    [
        (0.1, True, 0.3333333333, 0.3371980676),
        (0.3, True, 0.2683982684, 0.2456866805),
        (0.5, True, 0.0303030303, 0.0222222222),
        (0.75, True, 0, 0),
        (0.1, False, 0.3024538867, 0.2801328502),
        (0.3, False, 0.2683982684, 0.2253968254),
    ],
)
def test_pascal_7_images(
    ap_reference: Path, iou: float, inclusive_pixels: bool, ap_11_point: float, ap_all_point: float
) -> None:
    result = voc_ap(*read_pascal_7_images(ap_reference), 2, iou, inclusive_pixels)
    assert result.mean_11_point == pytest.approx(ap_11_point, abs=5e-11)
    assert result.mean_all_point == pytest.approx(ap_all_point, abs=5e-11)


def test_three_detections_of_four_boxes() -> None:
    found = detections_of(
        [
            (363, 1, 0.92, (280, 69, 696, 435)),
            (297, 1, 0.77, (499, 286, 791, 455)),
            (297, 1, 0.33, (138, 173, 335, 330)),
        ]
    )
    truth = ground_truth_of(
        [
            (297, 1, False, (106, 195, 303, 352)),
            (297, 1, False, (548, 250, 841, 419)),
            (363, 1, False, (207, 108, 624, 474)),
            (299, 1, False, (434, 223, 715, 386)),
        ]
    )
    ious = pair_iou(found.boxes, truth.boxes[[2, 1, 0]], inclusive_pixels=True)
    assert ious == pytest.approx([0.585, 0.487, 0.565], abs=5e-4)
    (one,) = voc_ap(found, truth, 2, iou_threshold=0.3, inclusive_pixels=True).classes
    assert one.ap_all_point == 0.75
    assert one.recall.tolist() == [0.25, 0.5, 0.75]
    assert one.precision.tolist() == [1, 1, 1]


A, B, FAR = (0, 0, 10, 10), (20, 0, 30, 10), (50, 50, 60, 60)


def test_detection_of_a_difficult_box_is_not_counted() -> None:
    truth = ground_truth_of([(0, 1, True, A), (0, 1, False, B)])
    found = detections_of([(0, 1, 0.9, A), (0, 1, 0.8, A), (0, 1, 0.7, B)])
    (one,) = voc_ap(found, truth, 2).classes
    assert (one.positives, one.ap_all_point, one.score.tolist()) == (1, 1.0, [np.float32(0.7)])


def test_second_detection_of_a_box_is_wrong_even_where_another_box_is_free() -> None:
    wide, nearly = (0, 0, 10, 10), (0, 0, 10, 9)
    truth = ground_truth_of([(0, 1, False, wide), (0, 1, False, (0, 0, 10, 6))])
    found = detections_of([(0, 1, 0.6, nearly), (0, 1, 0.9, wide)])
    (one,) = voc_ap(found, truth, 2).classes
    assert one.precision.tolist() == [1, 0.5]


def test_iou_equal_to_the_threshold_matches() -> None:
    truth = ground_truth_of([(0, 1, False, A)])
    assert voc_ap(detections_of([(0, 1, 0.9, (0, 0, 10, 5))]), truth, 2).mean_all_point == 1
    assert voc_ap(detections_of([(0, 1, 0.9, (0, 0, 10, 4.99))]), truth, 2).mean_all_point == 0


@pytest.mark.parametrize(("tenths", "points"), [(2, 3), (3, 3), (4, 5), (6, 6), (7, 7), (8, 9), (10, 11)])
def test_recall_of_exactly_3_6_or_7_tenths_stays_below_its_level(tenths: int, points: int) -> None:
    truth = ground_truth_of([(image, 1, False, A) for image in range(10)])
    found = detections_of([(image, 1, 0.9, A) for image in range(tenths)])
    assert voc_ap(found, truth, 2).mean_11_point == pytest.approx(points / 11)


def test_class_without_countable_boxes_is_left_out_of_the_mean() -> None:
    truth = ground_truth_of([(0, 1, False, A), (0, 2, True, A)])
    result = voc_ap(detections_of([(0, 1, 0.9, A), (0, 2, 0.9, FAR), (0, 3, 0.9, A)]), truth, 4)
    assert [math.isnan(one.ap_all_point) for one in result.classes] == [False, True, True]
    assert (result.mean_all_point, result.mean_11_point) == (1, 1)


def test_nothing_found_is_zero_and_nothing_to_find_is_nan() -> None:
    nothing, truth = detections_of([]), ground_truth_of([(0, 1, False, A)])
    assert voc_ap(nothing, truth, 2).mean_all_point == 0
    assert math.isnan(voc_ap(nothing, ground_truth_of([]), 2).mean_all_point)
    assert math.isnan(voc_ap(detections_of([(0, 1, 0.9, A)]), ground_truth_of([]), 2).mean_all_point)


def test_label_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"detections have labels 0\.\.2, expected 1\.\.1"):
        voc_ap(detections_of([(0, 0, 0.9, A), (0, 2, 0.9, A)]), ground_truth_of([]), 2)


def devkit(
    found: list[tuple[int, int, float, Box]],
    truth: list[tuple[int, int, bool, Box]],
    label: int,
    threshold: float,
    one: int,
) -> tuple[float, float]:
    """VOCevaldet.m, line by line: all-point and 11-point AP of one class."""
    mine = [(image, difficult, box) for image, of_label, difficult, box in truth if of_label == label]
    positives = sum(not difficult for _, difficult, _ in mine)
    if not positives:
        return math.nan, math.nan
    taken, right, wrong, recall, precision = set(), 0, 0, [], []
    for image, of_label, _, box in sorted(found, key=lambda row: -row[2]):
        if of_label != label:
            continue
        best, at = -math.inf, -1
        for j, (of_image, _, gt) in enumerate(mine):
            width = min(box[2], gt[2]) - max(box[0], gt[0]) + one
            height = min(box[3], gt[3]) - max(box[1], gt[1]) + one
            if of_image == image and width > 0 and height > 0:
                area = (box[2] - box[0] + one) * (box[3] - box[1] + one)
                gt_area = (gt[2] - gt[0] + one) * (gt[3] - gt[1] + one)
                overlap = width * height / (area + gt_area - width * height)
                if overlap > best:
                    best, at = overlap, j
        if best >= threshold and mine[at][1]:
            continue
        if best >= threshold and at not in taken:
            taken.add(at)
            right += 1
        else:
            wrong += 1
        recall.append(right / positives)
        precision.append(right / (right + wrong))
    eleven = sum(
        max((p for r, p in zip(recall, precision, strict=True) if r >= k * 0.1), default=0.0) for k in range(11)
    )
    area, padded_recall, padded = 0.0, [0.0, *recall, 1.0], [0.0, *precision, 0.0]
    for i in range(len(padded) - 1, 0, -1):
        padded[i - 1] = max(padded[i - 1], padded[i])
    for i in range(1, len(padded)):
        area += (padded_recall[i] - padded_recall[i - 1]) * padded[i]
    return area, eleven / 11


images, labels, sides = st.integers(0, 2), st.integers(1, 3), st.integers(1, 5)
boxes = st.builds(lambda x, y, w, h: (x, y, x + w, y + h), st.integers(0, 3), st.integers(0, 3), sides, sides)
scores = st.sampled_from([0.125, 0.25, 0.5, 0.75])


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    st.lists(st.tuples(images, labels, scores, boxes), max_size=25),
    st.lists(st.tuples(images, labels, st.booleans(), boxes), max_size=15),
    st.sampled_from([0.1, 0.25, 0.5, 0.75, 1.0]),
    st.booleans(),
)
def test_agrees_with_the_devkits_loops(
    found: list[tuple[int, int, float, Box]], truth: list[tuple[int, int, bool, Box]], threshold: float, inclusive: bool
) -> None:
    result = voc_ap(detections_of(found), ground_truth_of(truth), 4, threshold, inclusive)
    for one in result.classes:
        expected = devkit(found, truth, one.label, threshold, int(inclusive))
        assert (one.ap_all_point, one.ap_11_point) == pytest.approx(expected, abs=1e-9, nan_ok=True)
