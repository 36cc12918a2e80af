"""COCO figures against those of pycocotools, and the cases that the library does not take."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.metrics import coco_ap
from pipeline.metrics.coco_ap import COCO_METRICS, coco_ground_truth, coco_metrics, coco_results
from pipeline.metrics.rows import DetectionRows, GtRows

pytestmark = pytest.mark.authority("pycocotools")

PYCOCOTOOLS = {
    "AP": 0.503647,
    "AP50": 0.696973,
    "AP75": 0.571667,
    "APs": 0.593252,
    "APm": 0.557991,
    "APl": 0.489363,
    "AR1": 0.386813,
    "AR10": 0.593680,
    "AR100": 0.595353,
    "ARs": 0.654764,
    "ARm": 0.603130,
    "ARl": 0.553744,
}


def xyxy(boxes: list[list[float]]) -> np.ndarray:
    xywh = np.array(boxes, np.float64).reshape(-1, 4)
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1).astype(np.float32)


def one_box(box: list[float], crowd: bool = False, difficult: bool = False) -> GtRows:
    return GtRows(np.array([0]), np.array([1]), xyxy([box]), np.array([difficult]), np.array([crowd]))


def detections_of(*rows: tuple[int, int, float, list[float]]) -> DetectionRows:
    image, label, score, boxes = zip(*rows, strict=True) if rows else ((), (), (), ())
    return DetectionRows(
        np.array(image, np.int64), np.array(label, np.int64), np.array(score, np.float32), xyxy(list(boxes))
    )


BIG = [0.0, 0.0, 100.0, 100.0]


def test_coco_100_images(ap_reference: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = ap_reference / "coco_100_images"
    found = json.loads((folder / "dets/sampled_bbox_results.json").read_text())["annotations"]
    instances = json.loads((folder / "gts/sampled_gts_bbox_area.json").read_text())
    truth = instances["annotations"]
    # Ascending ids, because equal scores rank by image.
    image = {identity: index for index, identity in enumerate(sorted(row["id"] for row in instances["images"]))}
    label = {row["id"]: index for index, row in enumerate(instances["categories"], start=1)}
    detections = DetectionRows(
        np.array([image[row["image_id"]] for row in found]),
        np.array([label[row["category_id"]] for row in found]),
        np.array([row["score"] for row in found], np.float32),
        xyxy([row["bbox"] for row in found]),
    )
    ground_truth = GtRows(
        np.array([image[row["image_id"]] for row in truth]),
        np.array([label[row["category_id"]] for row in truth]),
        xyxy([row["bbox"] for row in truth]),
        np.zeros(len(truth), bool),
        np.array([row["iscrowd"] for row in truth], bool),
    )
    assert (len(detections), len(ground_truth)) == (734, 830)
    assert coco_metrics(detections, ground_truth) == pytest.approx(PYCOCOTOOLS, abs=5e-7)
    assert capfd.readouterr() == ("", "")


def test_sizes_without_boxes_are_minus_one() -> None:
    metrics = coco_metrics(detections_of((0, 1, 0.9, BIG)), one_box(BIG))
    assert tuple(metrics) == COCO_METRICS
    assert {name for name, value in metrics.items() if value == -1} == {"APs", "APm", "ARs", "ARm"}
    assert all(value == pytest.approx(1) for value in metrics.values() if value != -1)


def test_nothing_found_is_zero_and_nothing_to_find_is_minus_one() -> None:
    assert coco_metrics(detections_of(), one_box(BIG))["AP"] == 0
    no_truth = GtRows(np.zeros(0, int), np.zeros(0, int), xyxy([]), np.zeros(0, bool), np.zeros(0, bool))
    for found in (detections_of(), detections_of((3, 2, 0.9, BIG))):
        assert set(coco_metrics(found, no_truth).values()) == {-1}


@pytest.mark.parametrize("flag", ["crowd", "difficult"])
def test_ignored_box_is_neither_to_be_found_nor_wrong_to_find(flag: str) -> None:
    counted, ignored = one_box(BIG), one_box([200, 200, 50, 50], **{flag: True})
    names = ("image", "label", "boxes", "difficult", "iscrowd")
    both = GtRows(*(np.concatenate([getattr(counted, name), getattr(ignored, name)]) for name in names))
    found = detections_of((0, 1, 0.95, [200, 200, 50, 50]), (0, 1, 0.9, BIG))
    assert coco_metrics(found, both)["AP"] == pytest.approx(1)
    assert coco_metrics(found, counted)["AP"] == pytest.approx(0.5)


def test_detection_in_an_image_without_boxes_is_wrong() -> None:
    found = detections_of((7, 1, 0.95, BIG), (0, 1, 0.9, BIG))
    assert coco_metrics(found, one_box(BIG))["AP"] == pytest.approx(0.5)


def test_results_and_ground_truth_are_json_of_the_given_ids() -> None:
    found = detections_of((1, 2, 0.5, [1, 2, 3, 4]))
    assert coco_results(found, [10, 11], [0, 18, 90]) == [
        {"image_id": 11, "category_id": 90, "bbox": [1, 2, 3, 4], "score": 0.5}
    ]
    instances = coco_ground_truth(one_box([1, 2, 3, 4], crowd=True), [10, 11], [0, 18], ["background", "dog"])
    assert json.loads(json.dumps(instances)) == {
        "images": [{"id": 10}, {"id": 11}],
        "categories": [{"id": 18, "name": "dog"}],
        "annotations": [{"id": 1, "image_id": 10, "category_id": 18, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 1}],
    }


def test_import_loads_neither_torch_nor_the_library() -> None:
    code = "import sys, pipeline.metrics.coco_ap; print({'torch', 'pandas', 'faster_coco_eval'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


@pytest.mark.parametrize("most", [1, 60, 10_000])
def test_classes_are_judged_in_groups_of_few_detections(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups bound the memory; whatever they are, the figures are the same."""
    rng = np.random.default_rng(0)

    def boxes(count: int) -> np.ndarray:
        corner = rng.uniform(0, 50, (count, 2))
        return np.concatenate([corner, corner + rng.uniform(5, 120, (count, 2))], axis=1).astype(np.float32)

    # Class 3 has no gt boxes, class 4 no detections.
    truth = GtRows(
        rng.integers(0, 6, 60), rng.choice([1, 2, 4, 5], 60), boxes(60), rng.random(60) < 0.1, rng.random(60) < 0.1
    )
    places = np.arange(60).repeat(3)
    moved = truth.boxes[places] + rng.uniform(-4, 4, (180, 4)).astype(np.float32)
    label = np.where(truth.label[places] == 4, 3, truth.label[places])
    found = DetectionRows(truth.image[places], label, rng.random(180).astype(np.float32), moved)
    expected = coco_metrics(found, truth)
    assert 0 < expected["AP"] < 1
    counted = []
    accumulated = coco_ap._accumulated

    def noted(found: DetectionRows, *others: Any) -> Any:
        counted.append(len(found))
        return accumulated(found, *others)

    monkeypatch.setattr(coco_ap, "_MOST_HELD", most)
    monkeypatch.setattr(coco_ap, "_accumulated", noted)
    assert coco_metrics(found, truth) == expected
    assert sum(counted) == len(found)
    assert len(counted) == {1: 5, 60: 4, 10_000: 1}[most]


@pytest.mark.parametrize(("images", "detections", "groups"), [(10, 30_000, 2), (40_000, 0, 2), (100, 100, 1)])
def test_groups_stay_small_with_many_detections_and_with_many_images(
    images: int, detections: int, groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of four classes."""
    box = np.array([[0, 0, 10, 10]], np.float32)
    flags = np.zeros(1, bool)
    truth = GtRows(np.array([images - 1]), np.array([4]), box, flags, flags)
    found = DetectionRows(
        np.zeros(detections, np.int64),
        1 + np.arange(detections) % 4,
        np.ones(detections, np.float32),
        box.repeat(detections, axis=0),
    )
    counted = []

    def noted(found: DetectionRows, *others: Any) -> Any:
        counted.append(len(found))
        return {"precision": np.ones((10, 101, 1, 4, 3)), "recall": np.ones((10, 1, 4, 3))}

    monkeypatch.setattr(coco_ap, "_accumulated", noted)
    coco_metrics(found, truth)
    assert (len(counted), sum(counted)) == (groups, detections)
