"""Recall of proposals, as in the figures of the Faster R-CNN paper: against the number of proposals per image, and
against the IoU at a number of proposals. A gt box is recalled when any of the proposals reaches the IoU with it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.metrics.rows import pair_iou

DEFAULT_BUDGETS = (1, 3, 10, 30, 100, 300, 1000, 2000)
# Divided, so that each is the float nearest to .5, .55, ..., 1.
IOU_LEVELS = np.arange(50, 101, 5) / 100
SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, np.inf)}
"""COCO's sizes of gt boxes: least area, and the first that is too large, square pixels of the original image."""


class RecallCounter:
    """Collects images one by one and keeps, for each gt box, its largest IoU within each budget of proposals.

    One proposal may recall several gt boxes (some tools match one to one, which counts a little lower where gt boxes
    overlap much). Memory: 8 bytes per gt box and budget, and 8 per gt box, however many proposals are added.

    Args:
        budgets: numbers of proposals per image, ascending; a budget takes the best-ranked ones, or all where an image
            has fewer.

    Attributes:
        budgets: the budgets, as given.

    Source: Ren et al., "Faster R-CNN", figure 4 ("Recall vs. IoU overlap ratio").
    """

    def __init__(self, budgets: Sequence[int] = DEFAULT_BUDGETS) -> None:
        if list(budgets) != sorted(set(budgets)) or not budgets or budgets[0] < 1:
            raise ValueError(f"budgets are {tuple(budgets)}, expected ascending numbers from 1")
        self.budgets = tuple(budgets)
        self._max_iou: list[np.ndarray] = []
        self._areas: list[np.ndarray] = []

    def add(self, proposals: np.ndarray, gt_boxes: np.ndarray, scale: tuple[float, float] = (1.0, 1.0)) -> None:
        """Add one image.

        Args:
            proposals: (P, 4) float32 xyxy, pixels, the best-ranked first; P may be 0.
            gt_boxes: (G, 4) float32 xyxy, same pixels, without difficult and crowd boxes; G may be 0.
            scale: x, y: these pixels per pixel of the original image, for the sizes of gt boxes.
        """
        for name, boxes in (("proposals", proposals), ("gt_boxes", gt_boxes)):
            if boxes.ndim != 2 or boxes.shape[1] != 4:
                raise ValueError(f"{name} has shape {boxes.shape}, expected (rows, 4)")
        max_iou = np.zeros((len(self.budgets), len(gt_boxes)))
        proposals = proposals[: self.budgets[-1]]
        # Budget b adds the ranks from the last budget's end to its own; where none is left it adds nothing.
        starts = np.array([start for start in (0, *self.budgets[:-1]) if start < len(proposals)], dtype=np.intp)
        if len(starts) and len(gt_boxes):
            iou = pair_iou(proposals[:, None], gt_boxes)
            max_iou[: len(starts)] = np.maximum.reduceat(iou, starts, axis=0)
        self._max_iou.append(np.maximum.accumulate(max_iou, axis=0).T)
        sides = (gt_boxes[:, 2:].astype(np.float64) - gt_boxes[:, :2]) / scale
        # To a tenth: a box of 32 x 32 stays one after it was scaled in float32.
        self._areas.append(sides.prod(axis=1).round(1))

    @property
    def num_gt(self) -> int:
        """Number of gt boxes added so far."""
        return sum(map(len, self._max_iou))

    def recall(self, budget: int, iou: float) -> float:
        """Share of the gt boxes that the first `budget` proposals of their image reach with IoU >= `iou`.

        Returns:
            0..1; NaN without gt boxes.

        Raises:
            ValueError: `budget` is none of `budgets`.
        """
        return _share(self._of_budget(budget) >= iou)

    def recall_of_size(self, budget: int, iou: float, size: str) -> float:
        """`recall` of the gt boxes of one of SIZES; NaN without any."""
        least, limit = SIZES[size]
        areas = np.concatenate([np.zeros(0), *self._areas])
        return _share(self._of_budget(budget)[(areas >= least) & (areas < limit)] >= iou)

    def curve_by_budget(self, iou: float) -> np.ndarray:
        """Recall at IoU >= `iou` for each of `budgets`: (len(budgets),) float64, 0..1, NaN without gt boxes."""
        return np.array([self.recall(budget, iou) for budget in self.budgets])

    def curve_by_iou(self, budget: int) -> np.ndarray:
        """Recall of the first `budget` proposals at each of IOU_LEVELS: (11,) float64, 0..1, NaN without gt boxes."""
        max_iou = self._of_budget(budget)
        return np.array([_share(max_iou >= level) for level in IOU_LEVELS])

    def AR(self, budget: int) -> float:
        """Average recall: the mean over IoU .5, .55, ..., .95 (1.0 left out), 0..1; NaN without gt boxes.

        Source: Hosang et al., "What makes for effective detection proposals?"; the levels are COCO's.
        """
        return float(np.mean(self.curve_by_iou(budget)[:-1]))

    def _of_budget(self, budget: int) -> np.ndarray:
        if budget not in self.budgets:
            raise ValueError(f"budget {budget} was not counted, only {self.budgets}")
        column = self.budgets.index(budget)
        return np.concatenate([np.zeros(0), *[image[:, column] for image in self._max_iou]])


def _share(reached: np.ndarray) -> float:
    return float(np.mean(reached)) if len(reached) else float("nan")
