"""Judges whether the configured anchors fit the training boxes, and finds others that would."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pipeline.geometry.anchors import Floats, grid_shapes
from pipeline.params.anchors import AnchorParams
from pipeline.preflight.anchor_fit import Placement
from pipeline.preflight.anchor_search import Grid, cluster_shapes, fit_grid, quantile_grid
from pipeline.preflight.collecting import DatasetBoxes
from pipeline.runtime.seeding import numpy_generator

MOST_UNREACHED = 0.05  # anchors do not fit where this share of boxes or more is below IoU .5
LEAST_GAIN = 0.05  # of mean best IoU; with this gain or more another grid is proposed anyway
_WORTH = 0.01  # of the score, for another grid to be proposed where too many boxes are unreached
_MOST_STRIDES = 12  # a side of an anchor on one of several levels; 8 in FPN, whose cells see little of a larger box
_GRID_SAMPLE = 2_000  # boxes that ratios and scales are searched on
_CLUSTER_SAMPLE = 20_000


@dataclass(frozen=True, eq=False)
class Fit:
    """Anchors of `shapes` (A, 2) px against N boxes: `best_iou` (N,) float64, with all locations taken into account."""

    shapes: Floats
    best_iou: Floats

    @property
    def mean(self) -> float:
        """Mean best IoU."""
        return float(self.best_iou.mean())

    @property
    def score(self) -> float:
        """What a grid is searched for: the mean best IoU less the share that is not reached at IoU .5."""
        return self.mean - self.below(0.5)

    def below(self, iou: float) -> float:
        """Share of the boxes that no anchor reaches at this IoU."""
        return float((self.best_iou < iou).mean())


@dataclass(frozen=True, eq=False)
class Verdict:
    """The verdict on the anchors.

    Attributes:
        kind: fit: at most `MOST_UNREACHED` of the boxes are below IoU .5 and no grid found raises the mean by more than
            `LEAST_GAIN`; propose: they do not, and `grid` is better; no_better: no grid of as many anchors is.
        configured, proposed, clustered: the anchors of params.yaml, of `grid`, and the free shapes of k-means.
        any_border: the configured anchors if `anchor_targets.allowed_border` were null.
        grid: ratios and scales, as many as configured.
    """

    kind: Literal["fit", "propose", "no_better"]
    configured: Fit
    proposed: Fit
    clustered: Fit
    any_border: Fit
    grid: Grid


def fit_of(gt: DatasetBoxes, placement: Placement, shapes: Floats) -> Fit:
    """The anchors of these shapes against the boxes."""
    return Fit(shapes, placement.best_iou(gt.boxes, gt.sizes, shapes))


def judge_anchors(gt: DatasetBoxes, anchors: AnchorParams, placement: Placement, seed: int) -> Verdict:
    """Compare the configured anchors with a searched grid and with k-means.

    Args:
        gt: the trainable boxes of train, at least one.
        anchors: the configured ones.
        placement: where anchors lie.
        seed: of the run; equal arguments give equal verdicts.
    """
    sizes = gt.shapes
    few = _sample(gt, _GRID_SAMPLE, seed, "grid")

    def shapes_of(grid: Grid) -> Floats:
        return grid_shapes(anchors.base_size, grid.ratios, grid.scales)

    longest = max(_MOST_STRIDES * placement.layout.strides[0], anchors.base_size * max(anchors.scales))

    def score(grid: Grid) -> float:
        if len(placement.layout.levels) > 1 and anchors.base_size * max(grid.scales) > longest:
            return -1.0  # the least that there is
        shapes = shapes_of(grid)
        return Fit(shapes, placement.best_iou(gt.boxes[few], gt.sizes[few], shapes)).score

    own = Grid(tuple(anchors.ratios), tuple(anchors.scales))
    sizes = on_first_level(sizes, shapes_of(own), placement.layout.scales)
    start = quantile_grid(sizes, anchors.base_size, len(own.ratios), len(own.scales))
    grid = fit_grid(score, [own, start])
    some = _sample(gt, _CLUSTER_SAMPLE, seed, "clusters")
    count = len(own.ratios) * len(own.scales)
    clusters = cluster_shapes(sizes[some], count, numpy_generator(seed, "check_data", "k_means"))
    configured, proposed = (fit_of(gt, placement, shapes_of(each)) for each in (own, grid))
    anywhere = replace(placement, allowed_border=None, border_key="")
    return Verdict(
        _kind(configured, proposed),
        configured,
        proposed,
        fit_of(gt, placement, clusters.shapes),
        fit_of(gt, anywhere, configured.shapes),
        grid,
    )


def on_first_level(sizes: Floats, shapes: Floats, scales: tuple[float, ...]) -> Floats:
    """(N, 2) sizes of boxes brought to the first level: divided by the scale of the level whose anchors are nearest.

    Args:
        shapes: (A, 2) of the anchors of the first level, px.
        scales: of each level, as in `MapLayout.scales`.
    """
    typical = float(np.exp(np.log(shapes).mean()))
    sides = np.sqrt(sizes.prod(axis=1))
    nearest = np.abs(np.log(sides[:, None] / (typical * np.array(scales)))).argmin(axis=1)
    return sizes / np.array(scales)[nearest, None]


def _kind(configured: Fit, proposed: Fit) -> Literal["fit", "propose", "no_better"]:
    gain = proposed.mean - configured.mean
    if gain > LEAST_GAIN:
        return "propose"
    if configured.below(0.5) <= MOST_UNREACHED:
        return "fit"
    return "propose" if proposed.score - configured.score > _WORTH else "no_better"


def _sample(gt: DatasetBoxes, most: int, seed: int, what: str) -> np.ndarray:
    """Indices of at most so many boxes, ascending, drawn without replacement."""
    if len(gt) <= most:
        return np.arange(len(gt))
    return np.sort(numpy_generator(seed, "check_data", what).choice(len(gt), most, replace=False))
