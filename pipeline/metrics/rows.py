"""What the metrics take: the detections and the ground truth of a whole data set as flat arrays, one row per box, the
image given by its index; and the IoU of two boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class DetectionRows:
    """All detections of a data set, in any order; where scores are equal the earlier row ranks higher.

    Attributes:
        image: (D,) int64, index of the image, 0..N-1.
        label: (D,) int64, class index, 1..C-1.
        score: (D,) float32, probability, 0..1 (any real number ranks).
        boxes: (D, 4) float32 xyxy, pixels, continuous.
    """

    image: np.ndarray
    label: np.ndarray
    score: np.ndarray
    boxes: np.ndarray

    def __post_init__(self) -> None:
        _check_rows(self.boxes, image=self.image, label=self.label, score=self.score)

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True)
class GtRows:
    """All ground-truth boxes of a data set.

    Attributes:
        image: (G,) int64, index of the image, 0..N-1.
        label: (G,) int64, class index, 1..C-1, or -1: an ignore region, which counts for every class.
        boxes: (G, 4) float32 xyxy, pixels, continuous.
        difficult: (G,) bool, VOC's flag; all False where a data set has none.
        iscrowd: (G,) bool, COCO's flag; all False where a data set has none.
    """

    image: np.ndarray
    label: np.ndarray
    boxes: np.ndarray
    difficult: np.ndarray
    iscrowd: np.ndarray

    def __post_init__(self) -> None:
        _check_rows(self.boxes, image=self.image, label=self.label, difficult=self.difficult, iscrowd=self.iscrowd)

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def ignored(self) -> np.ndarray:
        """(G,) bool: difficult, crowd or an ignore region, so neither to be found nor wrong to find."""
        ignored: np.ndarray = self.difficult | self.iscrowd | self.is_region
        return ignored

    @property
    def is_region(self) -> np.ndarray:
        """(G,) bool: ignore regions."""
        is_region: np.ndarray = self.label < 0
        return is_region


def best_of_images(image: np.ndarray, score: np.ndarray, per_image: int) -> np.ndarray:
    """(D,) bool: the `per_image` detections of the highest scores of each image; of equal scores the earlier rows.

    Args:
        image: (D,) int64, index of the image of each detection. score: (D,) float.
    """
    order = np.lexsort((np.arange(len(score)), -score.astype(np.float64), image))
    ordered = image[order]
    first = np.searchsorted(ordered, ordered, side="left")
    kept = np.zeros(len(score), dtype=bool)
    kept[order[np.arange(len(score)) - first < per_image]] = True
    return kept


def pair_iou(boxes: np.ndarray, others: np.ndarray, inclusive_pixels: bool = False) -> np.ndarray:
    """IoU of boxes, pair by pair; the leading axes broadcast, so (P, 1, 4) and (G, 4) give (P, G).

    Args:
        boxes, others: (..., 4) xyxy, pixels.
        inclusive_pixels: count x2 and y2 as covered pixels, so that a width is x2 - x1 + 1 (the VOC devkit's boxes).

    Returns:
        (...) float64, 0..1; 0 where the union is empty.
    """
    one = 1.0 if inclusive_pixels else 0.0
    boxes, others = boxes.astype(np.float64), others.astype(np.float64)
    low = np.maximum(boxes[..., :2], others[..., :2])
    high = np.minimum(boxes[..., 2:], others[..., 2:])
    width_height = np.maximum(high - low + one, 0.0)
    intersection = width_height[..., 0] * width_height[..., 1]
    union = _areas(boxes, one) + _areas(others, one) - intersection
    iou: np.ndarray = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    return iou


def pair_share(boxes: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Share of each box's own area in its region, pair by pair: (..., 4) and (..., 4) to (...) float64, 0..1."""
    boxes, regions = boxes.astype(np.float64), regions.astype(np.float64)
    low, high = np.maximum(boxes[..., :2], regions[..., :2]), np.minimum(boxes[..., 2:], regions[..., 2:])
    width_height = np.maximum(high - low, 0.0)
    intersection = width_height[..., 0] * width_height[..., 1]
    area = _areas(boxes, 0.0)
    share: np.ndarray = np.divide(intersection, area, out=np.zeros_like(intersection), where=area > 0)
    return share


def _areas(boxes: np.ndarray, one: float) -> np.ndarray:
    width_height = boxes[..., 2:] - boxes[..., :2] + one
    areas: np.ndarray = width_height[..., 0] * width_height[..., 1]
    return areas


def _check_rows(boxes: np.ndarray, **columns: np.ndarray) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"boxes has shape {boxes.shape}, expected (rows, 4)")
    for name, column in columns.items():
        if column.shape != (len(boxes),):
            raise ValueError(f"{name} has shape {column.shape}, expected ({len(boxes)},) like boxes")
