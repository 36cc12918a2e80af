"""The kind of error of each detection, and which classes are confused.

Kinds follow TIDE (Bolya et al. 2020), with one of its cases folded: a box that is both badly placed and of a wrong
class is taken for background.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.metrics.detection_matching import best_gt, match_by_score
from pipeline.metrics.rows import DetectionRows, GtRows

KINDS = ("correct", "duplicate", "wrong_class", "badly_placed", "background", "ignored")
"""What a detection can be. `missed` is the kind of a gt box that none is correct for."""

_NEAR_IOU = 0.1


@dataclass(frozen=True)
class Judgement:
    """Kinds of D detections of G gt boxes.

    Attributes:
        kind: (D,) str of `KINDS`.
        gt: (D,) int64, the gt box that made it so, -1 for background.
        iou: (D,) float64, 0..1, with that box.
        finder: (G,) int64, the correct detection of each gt box, -1 where it is missed or ignored.
    """

    kind: np.ndarray
    gt: np.ndarray
    iou: np.ndarray
    finder: np.ndarray


def judge(detections: DetectionRows, ground_truth: GtRows, iou_threshold: float = 0.5) -> Judgement:
    """Name the error of each detection; correct is what VOC's AP counts as correct.

    The first that holds: correct; ignored (belongs to a difficult or crowd box or lies in an ignore region); duplicate
    (a better-scored detection found its box); wrong_class (IoU of at least the threshold with a box of another class);
    badly_placed (IoU of at least .1 with a box of its class); background.
    """
    matches = match_by_score(detections, ground_truth, iou_threshold)
    other_gt, other_iou = best_gt(detections, ground_truth, own_class=False)
    hit = matches.max_iou >= iou_threshold
    on_other = (other_iou >= iou_threshold) & ~hit & matches.wrong
    on_other[on_other] = ~ground_truth.ignored[other_gt[on_other]]
    near = matches.max_iou >= _NEAR_IOU
    conditions = [matches.right, ~matches.wrong, hit, on_other, near]
    names = ["correct", "ignored", "duplicate", "wrong_class", "badly_placed"]
    kind = np.select(conditions, names, default="background")
    gt = np.where(on_other, other_gt, np.where(near, matches.matched_gt, -1))
    iou = np.where(on_other, other_iou, np.where(near, matches.max_iou, 0.0))
    finder = np.full(len(ground_truth), -1, dtype=np.int64)
    finder[matches.matched_gt[matches.right]] = np.flatnonzero(matches.right)
    return Judgement(kind, gt, iou, finder)


def missed_boxes(judgement: Judgement, detections: DetectionRows, ground_truth: GtRows, score: float) -> np.ndarray:
    """(G,) bool: boxes to be found that no correct detection of at least this score finds."""
    found = judgement.finder >= 0
    found[found] = detections.score[judgement.finder[found]] >= score
    missed: np.ndarray = ~found & ~ground_truth.ignored
    return missed


def confusion_pairs(
    detections: DetectionRows, ground_truth: GtRows, score: float, iou_threshold: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Actual and predicted class of every box to be found and of every detection that finds none.

    Detections below the score are left out. One belongs to the gt box of largest IoU in its image, whatever the class;
    of several the best-scored one is that box's prediction, the others predict a box on the background. What belongs
    to an ignored box or lies in an ignore region is left out.

    Returns:
        actual, predicted: (N,) int64, 0 is the background: a detection without box, or a box without detection.
    """
    rows = np.flatnonzero(detections.score >= score)
    rows = rows[np.argsort(-detections.score[rows], kind="stable")]
    chosen = DetectionRows(
        detections.image[rows], np.ones(len(rows), np.int64), detections.score[rows], detections.boxes[rows]
    )
    any_class = GtRows(
        ground_truth.image,
        np.where(ground_truth.is_region, -1, 1),
        ground_truth.boxes,
        ground_truth.difficult,
        ground_truth.iscrowd,
    )
    matches = match_by_score(chosen, any_class, iou_threshold)
    label, owner = detections.label[rows], matches.matched_gt[matches.right]
    found = np.zeros(len(ground_truth), dtype=bool)
    found[owner] = True
    lost = ground_truth.label[~found & ~ground_truth.ignored]
    false = label[matches.wrong]
    actual = np.concatenate([ground_truth.label[owner], lost, np.zeros_like(false)])
    predicted = np.concatenate([label[matches.right], np.zeros_like(lost), false])
    return actual.astype(np.int64), predicted.astype(np.int64)
