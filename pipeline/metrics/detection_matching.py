"""Matches detections with gt boxes by the rules of VOC's devkit, vectorised over a whole data set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.metrics.rows import DetectionRows, GtRows, pair_iou, pair_share

_PAIRS = 65_536
"""Pairs of a detection and a gt box that are compared at once."""


@dataclass(frozen=True)
class DetectionMatches:
    """The result for each of D detections; one that is neither correct nor wrong is not counted.

    Attributes:
        matched_gt: (D,) int64, gt box of largest IoU in the detection's image and class, -1 where there is none.
        max_iou: (D,) float64, 0..1, its IoU.
        right: (D,) bool, the best-scored detection of a gt box that is to be found.
        wrong: (D,) bool, finds no gt box, or one that a better-scored detection has found.
    """

    matched_gt: np.ndarray
    max_iou: np.ndarray
    right: np.ndarray
    wrong: np.ndarray


def match_by_score(
    detections: DetectionRows, ground_truth: GtRows, iou_threshold: float, inclusive_pixels: bool = False
) -> DetectionMatches:
    """Give each detection the gt box of largest IoU in its image and class, and each gt box its best-scored detection.

    Not counted are detections that belong to an ignored gt box, and those that find none and of whose area at least
    `iou_threshold` lies in an ignore region (VOCevaldet.m; regions as in KITTI's DontCare).
    """
    by_score = np.argsort(-detections.score, kind="stable")
    matched_gt, max_iou = best_gt(detections, ground_truth, inclusive_pixels=inclusive_pixels)
    hit = max_iou >= iou_threshold
    counted = ~hit
    counted[hit] = ~ground_truth.ignored[matched_gt[hit]]
    hits_by_score = by_score[(hit & counted)[by_score]]
    _, first_of_gt = np.unique(matched_gt[hits_by_score], return_index=True)
    right = np.zeros(len(detections), dtype=bool)
    right[hits_by_score[first_of_gt]] = True

    wrong = np.flatnonzero(counted & ~right)
    counted[wrong[in_region(detections, wrong, ground_truth, iou_threshold)]] = False
    return DetectionMatches(matched_gt, max_iou, right, counted & ~right)


def best_gt(
    detections: DetectionRows, ground_truth: GtRows, *, own_class: bool = True, inclusive_pixels: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The gt box of largest IoU in each detection's image, the first of equals; ignore regions are passed over.

    Args:
        detections, ground_truth: D and G boxes.
        own_class: only among the gt boxes of the detection's class.
        inclusive_pixels: as in `pair_iou`.

    Returns:
        matched_gt: (D,) int64, index into ground_truth, -1 where there is no such gt box.
        max_iou: (D,) float64, 0..1, 0 where there is none.
    """
    num_images = 1 + max(detections.image.max(initial=0), ground_truth.image.max(initial=0))
    group, gt_group = detections.image.astype(np.int64), ground_truth.image.astype(np.int64)
    if own_class:
        group = group + detections.label.astype(np.int64) * num_images
        gt_group = gt_group + ground_truth.label.astype(np.int64) * num_images
    gt_group[ground_truth.is_region] = -1
    gt_order = np.argsort(gt_group, kind="stable")
    gt_group = gt_group[gt_order]
    start = np.searchsorted(gt_group, group, side="left")
    count = np.searchsorted(gt_group, group, side="right") - start

    matched_gt, max_iou = np.full(len(detections), -1, dtype=np.int64), np.zeros(len(detections))
    for some in _slices(count):
        # A flat list of pairs that share image and class: a detection's pairs in a row, gt boxes in their own order.
        own = count[some]
        pair_detection = np.repeat(np.arange(len(own)), own)
        first_pair = np.cumsum(own) - own
        pair_gt = gt_order[np.arange(len(pair_detection)) + np.repeat(start[some] - first_pair, own)]
        iou = pair_iou(detections.boxes[some][pair_detection], ground_truth.boxes[pair_gt], inclusive_pixels)

        np.maximum.at(max_iou[some], pair_detection, iou)
        best = np.flatnonzero(iou == max_iou[some][pair_detection])
        _, first = np.unique(pair_detection[best], return_index=True)
        matched_gt[some][pair_detection[best[first]]] = pair_gt[best[first]]
    return matched_gt, max_iou


def _slices(count: np.ndarray) -> Iterator[slice]:
    """Slices of consecutive detections with about `_PAIRS` pairs each; a pair takes 250 bytes."""
    pairs = np.cumsum(count)
    ends = np.searchsorted(pairs, np.arange(_PAIRS, int(pairs[-1]) if len(pairs) else 0, _PAIRS), side="left") + 1
    edges = np.unique([0, *ends.tolist(), len(count)]).tolist()
    yield from map(slice, edges[:-1], edges[1:])


def in_region(detections: DetectionRows, rows: np.ndarray, ground_truth: GtRows, least_share: float) -> np.ndarray:
    """(len(rows),) bool, whether each of these detections lies in an ignore region of its image."""
    inside = np.zeros(len(rows), dtype=bool)
    if not ground_truth.is_region.any():
        return inside
    image = detections.image[rows]
    order = np.argsort(image, kind="stable")
    regions = np.flatnonzero(ground_truth.is_region)
    for region in regions:
        start, end = np.searchsorted(image[order], [ground_truth.image[region], ground_truth.image[region] + 1])
        own = order[start:end]
        inside[own] |= pair_share(detections.boxes[rows[own]], ground_truth.boxes[region]) >= least_share
    return inside
