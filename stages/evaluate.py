"""Score the detections of the images of `evaluate.split`: VOC AP, COCO AP and AR, and recall of the proposals.

Writes metrics.json, pr_curves.csv, recall_by_proposals.csv and recall_by_iou.csv.
"""

from __future__ import annotations

import json

import numpy as np

from pipeline.artifacts import schemas
from pipeline.artifacts.atomic import write_text
from pipeline.artifacts.history import write_csv
from pipeline.artifacts.stores import Entry, GroundTruth, ResizedImages, judged_images
from pipeline.artifacts.tables import ImageRows, boxes_of, read_columns
from pipeline.metrics.boxes import Detections as ScoredBoxes
from pipeline.metrics.boxes import GroundTruth as JudgedBoxes
from pipeline.metrics.coco import coco_metrics
from pipeline.metrics.figures import detection_figures, rounded
from pipeline.metrics.recall import DEFAULT_BUDGETS, IOU_LEVELS, RecallCounter
from pipeline.metrics.voc import VocAP, voc_ap
from pipeline.stage import Stage, run_stage

_CURVE_POINTS = 101


def evaluate(stage: Stage) -> None:
    """Judge detections against the original boxes, proposals against the resized ones."""
    images = judged_images(stage.input("resize"), stage.params.evaluate.split)
    classes = json.loads((stage.input("resize") / "classes.json").read_text(encoding="utf-8"))
    index_of = {image.image_id: i for i, image in enumerate(images)}
    found = _read_detections(stage, index_of)
    truth = _read_truth(stage, index_of)
    voc = voc_ap(found, truth, len(classes))
    coco = coco_metrics(found, truth)
    budget = stage.params.evaluate.recall_proposals
    recall = _count_recall(stage, images, budget)
    metrics = {
        **detection_figures(voc, coco, classes),
        "proposal_recall50": recall.recall(budget, 0.5),
        "images": len(index_of),
        "detections": len(found.score),
    }
    write_text(stage.out / "metrics.json", json.dumps(rounded(metrics), indent=1, allow_nan=False) + "\n")
    write_csv(stage.out / "pr_curves.csv", _pr_rows(voc, classes))
    write_csv(stage.out / "recall_by_proposals.csv", _recall_by_proposals(recall))
    write_csv(stage.out / "recall_by_iou.csv", _recall_by_iou(recall))
    stage.log(
        f"mAP@.5 {voc.mean_all_point:.4f}, COCO AP {coco['AP']:.4f}, "
        f"recall of {budget} proposals {recall.recall(budget, 0.5):.4f}"
    )


def _read_detections(stage: Stage, index_of: dict[str, int]) -> ScoredBoxes:
    rows = read_columns(stage.input("detections") / "detections.parquet", schemas.DETECTIONS)
    keep = np.array([image_id in index_of for image_id in rows["image_id"]], dtype=bool)
    image = np.array([index_of[image_id] for image_id in rows["image_id"][keep]], dtype=np.int64)
    return ScoredBoxes(image, rows["label"][keep].astype(np.int64), rows["score"][keep], boxes_of(rows)[keep])


def _read_truth(stage: Stage, index_of: dict[str, int]) -> JudgedBoxes:
    rows = read_columns(stage.input("dataset") / "boxes.parquet", schemas.DATASET_BOXES)
    keep = np.array([image_id in index_of for image_id in rows["image_id"]], dtype=bool)
    image = np.array([index_of[image_id] for image_id in rows["image_id"][keep]], dtype=np.int64)
    return JudgedBoxes(
        image,
        rows["label"][keep].astype(np.int64),
        boxes_of(rows)[keep],
        rows["difficult"][keep].astype(bool),
        rows["iscrowd"][keep].astype(bool),
    )


def _count_recall(stage: Stage, images: ResizedImages, budget: int) -> RecallCounter:
    gt = GroundTruth(stage.input("resize"))
    proposals = ImageRows(stage.input("detections") / "proposals.parquet", schemas.PROPOSALS)
    counter = RecallCounter(sorted({*DEFAULT_BUDGETS, budget}))
    for image in images:
        rows = proposals[Entry(image.image_id, False)]
        counter.add(boxes_of(rows), gt[image.image_id][0])
    return counter


def _pr_rows(voc: VocAP, classes: list[str]) -> list[dict[str, float | str]]:
    """Interpolated precision at 101 recalls, a curve a class; class by class, so that plots colour by class."""
    levels = np.linspace(0, 1, _CURVE_POINTS)
    rows: list[dict[str, float | str]] = []
    for curve in voc.classes:
        best_from = np.maximum.accumulate(curve.precision[::-1])[::-1] if len(curve.precision) else np.zeros(0)
        first = np.searchsorted(curve.recall, levels)
        padded = np.append(best_from, 0.0)
        rows += [
            {"class": classes[curve.label], "recall": float(level), "precision": float(value)}
            for level, value in zip(levels, padded[first], strict=True)
        ]
    return rows


def _recall_by_proposals(recall: RecallCounter) -> list[dict[str, float | int]]:
    return [
        {"proposals": budget, "recall50": recall.recall(budget, 0.5), "recall70": recall.recall(budget, 0.7)}
        for budget in DEFAULT_BUDGETS
    ]


def _recall_by_iou(recall: RecallCounter) -> list[dict[str, float | int]]:
    return [
        {
            "iou": round(float(iou), 2),
            **{f"recall_of_{budget}": recall.recall(budget, float(iou)) for budget in (100, 300, 1000)},
        }
        for iou in IOU_LEVELS
    ]


if __name__ == "__main__":
    run_stage(
        evaluate,
        about=__doc__,
        inputs={
            "dataset": "folder of the dataset stage",
            "resize": "folder of the resize stage",
            "detections": "folder of a detect stage",
        },
    )
