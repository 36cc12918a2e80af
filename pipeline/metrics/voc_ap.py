"""Pascal VOC's average precision, by the rules of its devkit (VOCevaldet.m): a detection belongs to the gt box of
largest IoU in its image and class, the best-scored detection of a gt box is right and every further one wrong, and
difficult gt boxes, and detections that belong to one, count for nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.metrics.detection_matching import match_by_score
from pipeline.metrics.rows import DetectionRows, GtRows

# Multiples of the float .1, as published figures were measured (voc_eval.py and others): 3, 6 and 7 times .1 come out a
# little above 3 / 10, 6 / 10 and 7 / 10, so that a recall of exactly this much stays below its level.
_ELEVEN_RECALLS = np.arange(11) * 0.1


@dataclass(frozen=True)
class ClassAP:
    """Precision against recall of one class, one point per counted detection, by descending score.

    A detection that belongs to an ignored gt box (difficult, crowd) is not counted and has no point.

    Attributes:
        label: class index, 1..C-1.
        positives: number of gt boxes to be found.
        recall: (D,) float64, 0..1, non-decreasing; NaN where `positives` is 0.
        precision: (D,) float64, 0..1, as measured: not interpolated.
        score: (D,) float32, falling.
        ap_all_point: area under the interpolated curve, 0..1 (VOC 2010 on); NaN where `positives` is 0.
        ap_11_point: mean of the interpolated precision at recall 0, .1, ..., 1, each a multiple of the float .1;
            0..1 (VOC 2007); NaN in the same cases.
    """

    label: int
    positives: int
    recall: np.ndarray
    precision: np.ndarray
    score: np.ndarray
    ap_all_point: float
    ap_11_point: float


@dataclass(frozen=True)
class VocAP:
    """The curves of classes 1..C-1, in this order, and the means over the classes that have a gt box to be found.

    Attributes:
        classes: C-1 curves, `classes[label - 1]`.
        mean_all_point, mean_11_point: 0..1; NaN where no class has a gt box to be found.
    """

    classes: tuple[ClassAP, ...]
    mean_all_point: float
    mean_11_point: float


def voc_ap(
    detections: DetectionRows,
    ground_truth: GtRows,
    num_classes: int,
    iou_threshold: float = 0.5,
    inclusive_pixels: bool = False,
) -> VocAP:
    """Average precision of each class and its means, after VOCevaldet.m of the VOC 2012 and 2007 devkits.

    The devkit's boxes are 1-based inclusive pixels; read as (xmin - 1, ymin - 1, xmax, ymax) they have the same IoU in
    this project's continuous coordinates, so `inclusive_pixels` stays False for them.

    Args:
        detections: D boxes, pixels of the original image.
        ground_truth: G boxes, pixels of the original image; crowd boxes are treated like difficult ones. A detection
            that finds no box is not counted where at least `iou_threshold` of its own area lies in an ignore region.
        num_classes: C, background included.
        iou_threshold: least IoU of a match, inclusive, above 0 to 1.
        inclusive_pixels: widths are x2 - x1 + 1, for figures that were measured so.

    Raises:
        ValueError: a label outside 1..C-1 or a threshold out of range.
    """
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"iou_threshold is {iou_threshold}, expected above 0 to 1")
    _check_labels("detections", detections.label, num_classes)
    _check_labels("ground truth", ground_truth.label[~ground_truth.is_region], num_classes)

    matches = match_by_score(detections, ground_truth, iou_threshold, inclusive_pixels)
    counted = matches.right | matches.wrong
    by_score = np.argsort(-detections.score, kind="stable")
    counted_by_score = by_score[counted[by_score]]
    classes = []
    for label in range(1, num_classes):
        rows = counted_by_score[detections.label[counted_by_score] == label]
        positives = int(np.count_nonzero((ground_truth.label == label) & ~ground_truth.ignored))
        classes.append(_class_ap(label, positives, matches.right[rows], detections.score[rows]))
    return VocAP(
        tuple(classes),
        _mean_of_known([one.ap_all_point for one in classes]),
        _mean_of_known([one.ap_11_point for one in classes]),
    )


def _class_ap(label: int, positives: int, true_positive: np.ndarray, score: np.ndarray) -> ClassAP:
    """The curve of one class from its counted detections, by descending score."""
    found = np.cumsum(true_positive)
    precision = found / np.arange(1, len(found) + 1)
    if positives == 0:
        return ClassAP(label, 0, np.full(len(found), np.nan), precision, score, float("nan"), float("nan"))
    recall = found / positives
    # The interpolated precision: the largest at this recall or beyond, 0 beyond the last detection.
    interpolated = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    ap_all_point = float(np.sum(np.diff(recall, prepend=0.0) * interpolated[:-1]))
    ap_11_point = float(np.mean(interpolated[np.searchsorted(recall, _ELEVEN_RECALLS, side="left")]))
    return ClassAP(label, positives, recall, precision, score, ap_all_point, ap_11_point)


def _mean_of_known(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _check_labels(what: str, label: np.ndarray, num_classes: int) -> None:
    if len(label) and not (label.min() >= 1 and label.max() < num_classes):
        raise ValueError(f"{what} have labels {label.min()}..{label.max()}, expected 1..{num_classes - 1}")
