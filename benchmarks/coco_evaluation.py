"""The twelve COCO figures of 5,000 images with 50 detections each, against pycocotools.

    python -m benchmarks.coco_evaluation

From our arrays to the figures, which on pycocotools' side takes the same lists of dicts that we give our library, and
from such lists, as a results file holds them. The figures are compared before anything is timed.
"""

from __future__ import annotations

import contextlib
import copy
import io
from typing import Any

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.measure import interleaved
from benchmarks.page import Row, write_section
from pipeline.metrics.coco_ap import COCO_METRICS, coco_ground_truth, coco_metrics, coco_results
from pipeline.metrics.rows import DetectionRows, GtRows

IMAGES, PER_IMAGE, RUNS = 5000, 50, 3
Listed = tuple[dict[str, list[dict[str, Any]]], list[dict[str, Any]]]


def made_up(images: int, per_image: int, classes: int) -> tuple[DetectionRows, GtRows]:
    """1 to 13 gt boxes an image; six detections in ten lie near one, four anywhere. One gt box in 50 is crowd."""
    draw = np.random.default_rng(0)
    gt_count = draw.integers(1, 14, images)
    gt_image = np.repeat(np.arange(images), gt_count)
    gt_boxes = _boxes(draw, len(gt_image))
    gt_label = draw.integers(1, classes + 1, len(gt_image))
    image = np.repeat(np.arange(images), per_image)
    first = np.cumsum(gt_count) - gt_count
    meant = first[image] + draw.integers(0, 1 << 30, len(image)) % gt_count[image]
    near = draw.random(len(image)) < 0.6
    boxes = np.where(near[:, None], gt_boxes[meant] + draw.normal(0, 8, (len(image), 4)), _boxes(draw, len(image)))
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    right = near & (draw.random(len(image)) < 0.8)
    label = np.where(right, gt_label[meant], draw.integers(1, classes + 1, len(image)))
    score = draw.random(len(image)).astype(np.float32)
    crowd = draw.random(len(gt_image)) < 0.02
    truth = GtRows(gt_image, gt_label, gt_boxes, np.zeros(len(gt_image), bool), crowd)
    return DetectionRows(image, label, score, boxes.astype(np.float32)), truth


def _boxes(draw: np.random.Generator, count: int) -> np.ndarray:
    corners = draw.uniform(0, 400, (count, 2))
    return np.concatenate([corners, corners + draw.uniform(8, 200, (count, 2))], axis=1).astype(np.float32)


def as_lists(detections: DetectionRows, truth: GtRows) -> Listed:
    """What an instances and a results file hold."""
    image_ids = range(1 + max(int(detections.image.max()), int(truth.image.max())))
    category_ids = range(1 + max(int(detections.label.max()), int(truth.label.max())))
    return coco_ground_truth(truth, image_ids, category_ids), coco_results(detections, image_ids, category_ids)


def by_pycocotools(listed: Listed) -> list[float]:
    """The twelve figures of files that are read already."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = listed[0]
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(listed[1]), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


def by_our_library(listed: Listed) -> list[float]:
    """The same by faster-coco-eval, set up as pipeline/metrics/coco_ap.py does."""
    from faster_coco_eval import COCO as FasterCOCO
    from faster_coco_eval import COCOeval_faster

    truth = FasterCOCO(listed[0], print_function=lambda *_: None)
    evaluation = COCOeval_faster(truth, truth.loadRes(listed[1]), iouType="bbox", print_function=lambda *_: None)
    evaluation.run()
    return [float(value) for value in evaluation.stats[:12]]


def measure(images: int, per_image: int, classes: int, runs: int) -> list[Row]:
    """Compare the figures, then time both ways."""
    detections, truth = made_up(images, per_image, classes)
    ours, peer = coco_metrics(detections, truth), by_pycocotools(as_lists(detections, truth))
    np.testing.assert_allclose([ours[name] for name in COCO_METRICS], peer, rtol=0, atol=1e-9)
    listed = as_lists(detections, truth)
    # Both add keys to the dicts that they are given, so each run gets its own.
    copies = [copy.deepcopy(listed) for _ in range(2 * runs)]
    times = interleaved(
        {
            "ours": lambda: coco_metrics(detections, truth),
            "peer": lambda: by_pycocotools(as_lists(detections, truth)),
            "our lists": lambda: by_our_library(copies.pop()),
            "peer's lists": lambda: by_pycocotools(copies.pop()),
        },
        runs=runs,
        warmup=0,
    )
    about = f"{images} x {per_image} detections, {classes} classes"
    return [
        Row(f"{about}, from arrays", times["ours"], times["peer"], bar=1 / 3, unit="s"),
        Row(f"{about}, from lists of dicts", times["our lists"], times["peer's lists"], bar=1 / 3, unit="s"),
    ]


def main() -> None:
    torch.set_num_threads(2)
    rows = [row for classes in (20, 80) for row in measure(IMAGES, PER_IMAGE, classes, RUNS)]
    write_section(
        "coco_evaluation",
        "COCO evaluation",
        "From detections to the twelve COCO figures, against pycocotools on the same input, with the number of\n"
        "classes of VOC and of COCO. The figures are equal to 1e-9.",
        rows,
        on_cpu=True,
    )


if __name__ == "__main__":
    main()
