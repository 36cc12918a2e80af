"""Evaluate the detections of the images of `evaluate.split`: VOC AP, COCO AP and AR, and the family's own figures.

Writes metrics.json, matches.parquet, confusion.csv and pr_curves.csv; a family may write further files.
"""

from __future__ import annotations

import json
from collections.abc import Collection

import numpy as np

from pipeline.artifacts.absent import why_absent
from pipeline.artifacts.atomic import write_text
from pipeline.artifacts.classes import read_classes
from pipeline.artifacts.dataset_tables import DATASET_BOXES
from pipeline.artifacts.detections import DETECTIONS
from pipeline.artifacts.history import write_csv
from pipeline.artifacts.matches import MATCHES
from pipeline.artifacts.own_figures import COUNTS, own_figures
from pipeline.artifacts.resized_images import ResizedImages, evaluated_images
from pipeline.artifacts.tables import box_columns, boxes_of, read_columns, write_table
from pipeline.metrics.error_kinds import Judgement, confusion_pairs, judge, missed_boxes
from pipeline.metrics.figures import detection_figures, rounded
from pipeline.metrics.rows import DetectionRows, GtRows, best_of_images
from pipeline.metrics.voc_ap import VocAP, voc_ap
from pipeline.params.evaluate import EvaluateParams
from pipeline.runtime.family_part import check_part, part_file
from pipeline.runtime.stage import Stage, run_stage
from pipeline.runtime.words import figure_text

_CURVE_POINTS = 101


def evaluate(stage: Stage) -> None:
    """Judge detections against the original boxes."""
    params = stage.params.evaluate
    images = evaluated_images(stage.input("resize"), params.split)
    classes = read_classes(stage.input("resize"))
    index_of = {image.image_id: i for i, image in enumerate(images)}
    found = _read_detections(stage, index_of)
    truth = _read_truth(stage, index_of)
    voc = voc_ap(found, truth, len(classes))
    judgement = judge(found, truth)
    write_table(stage.out / "matches.parquet", MATCHES, _match_rows(images, found, truth, judgement))
    actual, predicted = confusion_pairs(found, truth, params.confusion_score)
    write_csv(
        stage.out / "confusion.csv",
        [{"actual": classes[a], "predicted": classes[p]} for a, p in zip(actual, predicted, strict=True)],
        columns=("actual", "predicted"),
    )
    write_csv(stage.out / "pr_curves.csv", _pr_rows(voc, classes))
    common = detection_figures(found, truth, voc, judgement, classes, params.confusion_score)
    own = _figures_of_family(stage, images, common)
    metrics = {**common, **own, **dict(zip(COUNTS, (len(index_of), len(found.score)), strict=True))}
    absent = why_absent(stage.input("detections"))
    if absent is not None:
        write_text(stage.out / "metrics.json", "{}\n")
        stage.log(f"nothing to judge: {absent}")
        return
    write_text(stage.out / "metrics.json", json.dumps(rounded(metrics), indent=1, allow_nan=False) + "\n")
    said = "".join(
        f", {name} {value if isinstance(value, int) else figure_text(value, 4)}" for name, value in own.items()
    )
    stage.log(f"mAP@.5 {figure_text(voc.mean_all_point, 4)}, COCO AP {figure_text(metrics['AP'], 4)}{said}")


def _figures_of_family(stage: Stage, images: ResizedImages, common: Collection[str]) -> dict[str, float]:
    """What the family adds, where it adds anything."""
    if stage.part is None:
        return {}
    check_part(stage.part, "figures")
    return own_figures(stage.part.figures(stage, images), common, part_file(stage.part))


def _read_detections(stage: Stage, index_of: dict[str, int]) -> DetectionRows:
    rows = read_columns(stage.input("detections") / "detections.parquet", DETECTIONS)
    # All families by one threshold and one limit, whatever a detect stage has kept.
    params = stage.params.evaluate
    image = np.array([index_of.get(image_id, -1) for image_id in rows["image_id"].tolist()], dtype=np.int64)
    keep = (image >= 0) & (rows["score"] >= params.score_threshold)
    keep[keep] = best_of_images(image[keep], rows["score"][keep], params.per_image)
    return DetectionRows(image[keep], rows["label"][keep].astype(np.int64), rows["score"][keep], boxes_of(rows)[keep])


def _read_truth(stage: Stage, index_of: dict[str, int]) -> GtRows:
    rows = read_columns(stage.input("dataset") / "boxes.parquet", DATASET_BOXES)
    keep = np.array([image_id in index_of for image_id in rows["image_id"]], dtype=bool)
    image = np.array([index_of[image_id] for image_id in rows["image_id"][keep]], dtype=np.int64)
    return GtRows(
        image,
        rows["label"][keep].astype(np.int64),
        boxes_of(rows)[keep],
        rows["difficult"][keep].astype(bool),
        rows["iscrowd"][keep].astype(bool),
    )


def _match_rows(
    images: ResizedImages, found: DetectionRows, truth: GtRows, judgement: Judgement
) -> dict[str, np.ndarray]:
    """Every detection, and every gt box that is to be found and is not, image by image, the best scores first."""
    lost = np.flatnonzero(missed_boxes(judgement, found, truth, 0.0))
    owner = np.concatenate([judgement.gt, lost])
    has_gt = owner >= 0
    image = np.concatenate([found.image, truth.image[lost]])
    score = np.concatenate([found.score, np.zeros(len(lost), np.float32)])
    order = np.lexsort((-score, np.arange(len(owner)) >= len(found), image))
    first_of_image = np.searchsorted(truth.image, truth.image)
    ids = np.array([info.image_id for info in images])
    columns = {
        "image_id": ids[image],
        "kind": np.concatenate([judgement.kind, np.full(len(lost), "missed")]),
        "label": np.concatenate([found.label, np.zeros(len(lost), np.int64)]),
        "score": score,
        "gt_label": np.where(has_gt, truth.label[owner], 0) if len(truth) else np.zeros(len(owner), np.int64),
        "gt": np.where(has_gt, owner - first_of_image[owner], -1) if len(truth) else owner,
        "iou": np.concatenate([judgement.iou, np.zeros(len(lost))]),
        **box_columns(np.concatenate([found.boxes, truth.boxes[lost]])),
    }
    return {name: values[order] for name, values in columns.items()}


def _pr_rows(voc: VocAP, classes: list[str]) -> list[dict[str, float | str]]:
    """Interpolated precision at 101 recalls, one curve per class; class by class, so that plots colour by class."""
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


if __name__ == "__main__":
    run_stage(
        evaluate,
        about=__doc__,
        sections={"evaluate": EvaluateParams},
        inputs={
            "dataset": "folder of the dataset stage",
            "resize": "folder of the resize stage",
            "detections": "folder of a detect stage",
        },
        of_family="evaluate",
        part_optional=True,
    )
