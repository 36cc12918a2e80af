"""IoU, deltas, NMS, bilinear sampling and AP in plain Python, to be read.

The detector itself uses compiled operators. `pipeline.walk` computes both and stops where they differ. Boxes are
(x1, y1, x2, y2) in pixels. `one` is 0 for continuous coordinates and 1 where x2 and y2 name the last pixel inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

Box = Sequence[float]
Overlap = Callable[[Box, Box], float]


def area(box: Box, one: float = 0.0) -> float:
    """Square pixels of a box."""
    x1, y1, x2, y2 = box
    return (x2 - x1 + one) * (y2 - y1 + one)


def intersection(a: Box, b: Box, one: float = 0.0) -> float:
    """Square pixels that two boxes share, 0 where they do not meet."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + one
    height = min(a[3], b[3]) - max(a[1], b[1]) + one
    return max(width, 0.0) * max(height, 0.0)


def iou(a: Box, b: Box, one: float = 0.0) -> float:
    """Intersection over union, 0..1."""
    shared = intersection(a, b, one)
    union = area(a, one) + area(b, one) - shared
    return shared / union if union > 0 else 0.0


def share_of_other(kept: Box, other: Box) -> float:
    """What some tutorials compare in place of the IoU: the share of the other box that the kept one covers, 0..1, both
    with inclusive pixels."""
    return intersection(kept, other, 1.0) / area(other, 1.0)


def encode(anchor: Box, target: Box) -> tuple[float, float, float, float]:
    """The deltas (dx, dy, dw, dh) that move and scale an anchor to its target (R-CNN, appendix C)."""
    (width, height), (x, y) = _size_and_centre(anchor)
    (target_width, target_height), (target_x, target_y) = _size_and_centre(target)
    return (
        (target_x - x) / width,
        (target_y - y) / height,
        math.log(target_width / width),
        math.log(target_height / height),
    )


def decode(anchor: Box, deltas: Sequence[float]) -> tuple[float, float, float, float]:
    """The box that deltas (dx, dy, dw, dh) make of an anchor, the inverse of `encode`."""
    (width, height), (x, y) = _size_and_centre(anchor)
    dx, dy, dw, dh = deltas
    x, y, width, height = x + dx * width, y + dy * height, math.exp(dw) * width, math.exp(dh) * height
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _size_and_centre(box: Box) -> tuple[tuple[float, float], tuple[float, float]]:
    x1, y1, x2, y2 = box
    return (x2 - x1, y2 - y1), ((x1 + x2) / 2, (y1 + y2) / 2)


def smooth_l1(difference: float, sigma: float) -> float:
    """Quadratic near 0, linear beyond 1 / sigma^2 (Fast R-CNN, equation 3)."""
    size = abs(difference)
    return 0.5 * (sigma * size) ** 2 if size < sigma**-2 else size - 0.5 * sigma**-2


@dataclass(frozen=True)
class NmsStep:
    """One round of NMS: the best box that is left, `kept`, and each other with its overlap and whether it goes."""

    kept: int
    others: tuple[tuple[int, float, bool], ...]


def nms(boxes: Sequence[Box], scores: Sequence[float], threshold: float, overlap: Overlap = iou) -> list[NmsStep]:
    """Non-maximum suppression, round by round: keep the best box, drop what overlaps it by more than the threshold."""
    left = sorted(range(len(boxes)), key=lambda index: -scores[index])
    steps = []
    while left:
        best, *rest = left
        overlaps = [(index, overlap(boxes[best], boxes[index])) for index in rest]
        steps.append(NmsStep(best, tuple((index, value, value > threshold) for index, value in overlaps)))
        left = [index for index, value in overlaps if value <= threshold]
    return steps


def bilinear(values: Sequence[Sequence[float]], x: float, y: float) -> float:
    """The value of a map between its cells; (0, 0) is the middle of the first cell. Places beyond an edge take its
    value."""
    height, width = len(values), len(values[0])
    x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    left, top = int(x), int(y)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    across, down = x - left, y - top
    upper = values[top][left] * (1 - across) + values[top][right] * across
    lower = values[bottom][left] * (1 - across) + values[bottom][right] * across
    return upper * (1 - down) + lower * down


@dataclass(frozen=True)
class Detected:
    """A detection of one class, or, without its score, a gt box."""

    image: str
    box: Box
    score: float = 1.0


@dataclass(frozen=True)
class RankedDetection:
    """A detection in its place by score: its IoU with the gt box that it meets most, whether it is right, and recall
    and precision so far."""

    found: Detected
    iou: float
    right: bool
    recall: float
    precision: float


def rank_detections(
    detections: Sequence[Detected], truth: Sequence[Detected], least_iou: float, one: float = 0.0
) -> list[RankedDetection]:
    """Go through the detections by descending score; each gt box can be found once (VOC's rule)."""
    found: set[int] = set()
    ranked: list[RankedDetection] = []
    right = 0
    for count, own in enumerate(sorted(detections, key=lambda each: -each.score), start=1):
        overlaps = [iou(own.box, gt.box, one) if gt.image == own.image else 0.0 for gt in truth]
        best = max(range(len(truth)), key=overlaps.__getitem__)
        hit = overlaps[best] >= least_iou and best not in found
        if hit:
            found.add(best)
            right += 1
        ranked.append(RankedDetection(own, overlaps[best], hit, right / len(truth), right / count))
    return ranked


def average_precision(ranked: Sequence[RankedDetection]) -> float:
    """The area under precision over recall, where each precision is raised to the best at its recall or beyond."""
    return sum(step * precision for step, precision in area_steps(ranked))


def area_steps(ranked: Sequence[RankedDetection]) -> list[tuple[float, float]]:
    """Each rise of recall, and the raised precision there: the sides of the rectangles that the area consists of."""
    steps, recall = [], 0.0
    for place, row in enumerate(ranked):
        if row.recall > recall:
            steps.append((row.recall - recall, max(later.precision for later in ranked[place:])))
        recall = row.recall
    return steps


def eleven_points(ranked: Sequence[RankedDetection]) -> list[tuple[int, float]]:
    """The raised precision at recall 0, 0.1 ... 1, 0 where recall ends below, with how many points in a row have it."""
    points = [max((row.precision for row in ranked if row.recall >= 0.1 * point), default=0.0) for point in range(11)]
    return [(len(list(equal)), precision) for precision, equal in groupby(points)]
