"""AP of three detections against four gt boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.metrics.rows import DetectionRows, GtRows
from pipeline.metrics.voc_ap import voc_ap
from pipeline.walk import by_hand
from pipeline.walk.by_hand import Detected
from pipeline.walk.checking import same

DETECTIONS = (
    Detected("363", (280, 69, 696, 435), 0.92),
    Detected("297", (499, 286, 791, 455), 0.77),
    Detected("297", (138, 173, 335, 330), 0.33),
)
TRUTH = (
    Detected("297", (106, 195, 303, 352)),
    Detected("297", (548, 250, 841, 419)),
    Detected("363", (207, 108, 624, 474)),
    Detected("299", (434, 223, 715, 386)),
)
THRESHOLDS = (0.3, 0.5)


@dataclass(frozen=True)
class AtThreshold:
    """The detections by descending score, and AP, all points and eleven, with what each is computed from: see
    `by_hand.area_steps` and `by_hand.eleven_points`."""

    least_iou: float
    rows: list[by_hand.RankedDetection]
    ap: float
    ap_11_point: float
    area: list[tuple[float, float]]
    points: list[tuple[int, float]]


@dataclass(frozen=True)
class Example:
    """AP at each threshold, IoUs with inclusive pixels as the example was published; `continuous`: IoUs without."""

    images: int
    truth: int
    gt_boxes: tuple[Detected, ...]
    at: list[AtThreshold]
    continuous: list[float]


def ap_example() -> Example:
    """AP by hand, which must agree with the project's own."""
    ids = sorted({row.image for row in (*DETECTIONS, *TRUTH)})
    found = DetectionRows(
        np.array([ids.index(row.image) for row in DETECTIONS]),
        np.ones(len(DETECTIONS), np.int64),
        np.array([row.score for row in DETECTIONS], np.float32),
        np.array([row.box for row in DETECTIONS], np.float32),
    )
    none = np.zeros(len(TRUTH), bool)
    truth = GtRows(
        np.array([ids.index(row.image) for row in TRUTH]),
        np.ones(len(TRUTH), np.int64),
        np.array([row.box for row in TRUTH], np.float32),
        none,
        none,
    )
    at = []
    for least in THRESHOLDS:
        rows = by_hand.rank_detections(DETECTIONS, TRUTH, least, one=1.0)
        own = voc_ap(found, truth, 2, least, inclusive_pixels=True).classes[0]
        ap = by_hand.average_precision(rows)
        same("AP", [ap], [own.ap_all_point])
        area, points = by_hand.area_steps(rows), by_hand.eleven_points(rows)
        mean = sum(count * precision for count, precision in points) / sum(count for count, _ in points)
        same("AP at eleven points", [mean], [own.ap_11_point])
        at.append(AtThreshold(least, rows, ap, own.ap_11_point, area, points))
    continuous = [row.iou for row in by_hand.rank_detections(DETECTIONS, TRUTH, THRESHOLDS[0])]
    return Example(len(ids), len(TRUTH), TRUTH, at, continuous)
