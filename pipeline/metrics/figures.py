"""The figures of a set of detections, as metrics.json has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.metrics.coco_ap import COCO_METRICS, coco_metrics
from pipeline.metrics.error_kinds import KINDS, Judgement, missed_boxes
from pipeline.metrics.rows import DetectionRows, GtRows
from pipeline.metrics.voc_ap import VocAP


def detection_figures(
    detections: DetectionRows,
    ground_truth: GtRows,
    voc: VocAP,
    judgement: Judgement,
    classes: Sequence[str],
    confusion_score: float,
) -> dict[str, Any]:
    """VOC AP, COCO AP and AR, AP of each class by name, and how many errors there are of each kind.

    Args:
        detections, ground_truth: of a whole data set, pixels of the original images.
        voc, judgement: of these, by `voc_ap` and `judge`.
        classes: C names, the background first.
        confusion_score: least score of the detections that `errors` counts; without it a gt box is missed.
    """
    coco = coco_metrics(detections, ground_truth)
    shown = judgement.kind[detections.score >= confusion_score]
    missed = missed_boxes(judgement, detections, ground_truth, confusion_score)
    return {
        "mAP50": voc.mean_all_point,
        "mAP50_11point": voc.mean_11_point,
        **{name: coco[name] for name in COCO_METRICS[:9]},
        "class_AP50": {classes[c.label]: c.ap_all_point for c in voc.classes},
        "errors": {**{kind: int(np.sum(shown == kind)) for kind in KINDS}, "missed": int(missed.sum())},
    }


def rounded(value: Any) -> Any:
    """Figures for a JSON file: floats to 6 decimals, None for those that do not exist."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, float):
        return round(value, 6) if np.isfinite(value) else None
    return value
