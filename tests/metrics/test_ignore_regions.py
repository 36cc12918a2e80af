"""Detections in an ignore region are neither right nor wrong: VOC AP and COCO AP on images worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.metrics.coco_ap import coco_metrics
from pipeline.metrics.rows import DetectionRows, GtRows, pair_share
from pipeline.metrics.voc_ap import voc_ap

CAR = (10, 10, 30, 30)
REGION = (50, 0, 100, 50)


def truth(*rows: tuple[int, int, tuple[int, ...]]) -> GtRows:
    none = np.zeros(len(rows), bool)
    boxes = np.array([row[2] for row in rows], np.float32)
    return GtRows(np.array([r[0] for r in rows]), np.array([r[1] for r in rows]), boxes, none, none)


def found(*rows: tuple[int, int, float, tuple[int, ...]]) -> DetectionRows:
    image, label, score, boxes = zip(*rows, strict=True)
    return DetectionRows(np.array(image), np.array(label), np.array(score, np.float32), np.array(boxes, np.float32))


# A wrong detection that scores above the right one halves precision; one in a region of its image leaves it at 1.
@pytest.mark.parametrize(
    ("image", "label", "box", "ap"),
    [
        (0, 1, (60, 10, 80, 30), 1.0),  # wholly inside
        (0, 1, (40, 10, 60, 30), 1.0),  # half of it
        (0, 1, (38, 10, 58, 30), 0.5),  # 8 of 20 px
        (1, 1, (60, 10, 80, 30), 0.5),  # the region is in the other image
        (0, 2, (60, 10, 80, 30), 1.0),  # a region counts for every class
    ],
)
def test_voc_ap_counts_no_detection_in_a_region(image: int, label: int, box: tuple[int, ...], ap: float) -> None:
    boxes = truth((0, label, CAR), (0, -1, REGION), (1, 2 if label == 1 else 1, CAR))
    result = voc_ap(found((image, label, 0.9, box), (0, label, 0.8, CAR)), boxes, 3)
    assert result.classes[label - 1].ap_all_point == ap and result.classes[label - 1].positives == 1


def test_a_box_in_a_region_is_still_to_be_found_and_only_once() -> None:
    boxes = truth((0, 1, (60, 10, 80, 30)), (0, -1, REGION))
    hit = (0, 1, 0.9, (60, 10, 80, 30))
    assert voc_ap(found(hit), boxes, 2).mean_all_point == 1
    result = voc_ap(found(hit, (0, 1, 0.8, (60, 10, 80, 30))), boxes, 2)
    assert result.classes[0].precision.tolist() == [1.0]  # the repetition lies in the region


def test_coco_ap_counts_no_detection_in_a_region_for_any_class() -> None:
    plain, region = truth((0, 1, CAR), (0, 2, CAR)), truth((0, 1, CAR), (0, 2, CAR), (0, -1, REGION))
    for label in (1, 2):
        detections = found((0, label, 0.9, (60, 10, 80, 30)), (0, label, 0.8, CAR), (0, 3 - label, 0.8, CAR))
        assert coco_metrics(detections, plain)["AP"] == pytest.approx(0.75)
        assert coco_metrics(detections, region)["AP"] == pytest.approx(1.0)
        half = found((0, label, 0.9, (35, 10, 55, 30)), (0, label, 0.8, CAR), (0, 3 - label, 0.8, CAR))
        assert coco_metrics(half, region)["AP"] == pytest.approx(0.75)  # a quarter of it lies inside


def test_regions_alone_leave_nothing_to_find() -> None:
    boxes = truth((0, -1, REGION))
    assert np.isnan(voc_ap(found((0, 1, 0.9, CAR)), boxes, 2).mean_all_point)
    assert coco_metrics(found((0, 1, 0.9, CAR)), boxes)["AP"] == -1


def test_the_share_of_a_box_without_area_is_nothing() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 5, 5, 9]], np.float32)
    assert pair_share(boxes, np.array([0, 0, 5, 10], np.float32)).tolist() == [0.5, 0]
