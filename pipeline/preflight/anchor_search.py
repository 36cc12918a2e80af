"""Anchors that fit given boxes: free shapes by k-means under 1 - IoU, and a grid of ratios and scales.

Shapes: N boxes, k clusters. A shape is (width, height) in pixels of the resized image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.geometry.anchors import Floats
from pipeline.preflight.anchor_fit import shape_iou

_MOST_ROUNDS = 100
_STEPS = (1.5, 1.2, 1.1, 1.05, 1.02)  # factors by which a ratio or scale is tried larger and smaller
_SWEEPS = 4  # at most, with each step
_LEAST_GAIN = 1e-5  # of the score, for a move to be worth it


@dataclass(frozen=True, eq=False)
class Clusters:
    """`shapes` (k, 2) by ascending area, and `mean_iou` after each round, from the initial shapes on."""

    shapes: Floats
    mean_iou: tuple[float, ...]


def cluster_shapes(sizes: Floats, k: int, generator: np.random.Generator) -> Clusters:
    """k-means of box sizes under the distance 1 - IoU of co-centred boxes ("dimension clusters", YOLO9000, section 2).

    The initial shapes are drawn as k-means++ draws them. A round gives each size to the shape of largest IoU, then
    moves a shape to the mean or the median of its sizes, whichever has the larger mean IoU with them, if that is
    larger than before. So the mean IoU never falls from one round to the next.

    Args:
        sizes: (N, 2) float64 widths and heights, above 0, N at least 1.
        k: number of shapes; fewer come out where there are fewer distinct sizes.
        generator: draws the initial shapes.
    """
    shapes = _initial(sizes, k, generator)
    history: list[float] = []
    for _ in range(_MOST_ROUNDS):
        iou = shape_iou(sizes, shapes)
        owner = iou.argmax(axis=1)
        history.append(float(iou.max(axis=1).mean()))
        moved = np.stack([_centre(sizes[owner == index], shape) for index, shape in enumerate(shapes)])
        if (moved == shapes).all():
            break
        shapes = moved
    return Clusters(shapes[np.argsort(shapes.prod(axis=1), kind="stable")], tuple(history))


def _initial(sizes: Floats, k: int, generator: np.random.Generator) -> Floats:
    """(k, 2) sizes, each drawn with a probability that grows with its squared distance from those before it."""
    chosen = [sizes[generator.integers(len(sizes))]]
    distance = np.full(len(sizes), np.inf)
    while len(chosen) < k:
        distance = np.minimum(distance, 1 - shape_iou(sizes, chosen[-1][None])[:, 0])
        weight = np.square(distance)
        if not weight.any():
            break
        chosen.append(sizes[generator.choice(len(sizes), p=weight / weight.sum())])
    return np.stack(chosen)


def _centre(members: Floats, shape: Floats) -> Floats:
    """The best of the shape as it is, the mean and the median of its members."""
    if len(members) == 0:
        return shape
    candidates = np.stack([shape, members.mean(axis=0), np.median(members, axis=0)])
    best: Floats = candidates[shape_iou(members, candidates).mean(axis=0).argmax()]
    return best


@dataclass(frozen=True)
class Grid:
    """`anchors.ratios`, height over width, and `anchors.scales`, multiples of `anchors.base_size`."""

    ratios: tuple[float, ...]
    scales: tuple[float, ...]


def quantile_grid(sizes: Floats, base_size: float, ratios: int, scales: int) -> Grid:
    """So many ratios and scales at evenly spaced quantiles of the (N, 2) sizes' own."""

    def quantiles(values: Floats, count: int) -> tuple[float, ...]:
        return tuple(np.quantile(values, (np.arange(count) + 0.5) / count).tolist())

    sides = np.sqrt(sizes.prod(axis=1))
    return Grid(quantiles(sizes[:, 1] / sizes[:, 0], ratios), quantiles(sides / base_size, scales))


def fit_grid(score: Callable[[Grid], float], starts: Sequence[Grid]) -> Grid:
    """The grid of highest score that coordinate ascent finds from any of the starts.

    One ratio or scale at a time is made larger or smaller, by smaller and smaller factors, and a move is kept where it
    raises the score. The result scores no less than any start, except for the rounding to 3 digits; it is ascending.

    Args:
        score: how well a grid fits, the higher the better, such as the mean best IoU; a mean of figures in 0..1.
        starts: grids with equal numbers of ratios and of scales, at least one.
    """
    found = max((_climb(score, start) for start in starts), key=lambda end: end[0])[1]
    return Grid(_rounded(found.ratios), _rounded(found.scales))


def _climb(score: Callable[[Grid], float], start: Grid) -> tuple[float, Grid]:
    grid, best = start, score(start)
    values = [*start.ratios, *start.scales]
    split = len(start.ratios)
    for step in _STEPS:
        for _ in range(_SWEEPS):
            before = best
            for place in range(len(values)):
                for factor in (step, 1 / step):
                    tried = [*values[:place], values[place] * factor, *values[place + 1 :]]
                    candidate = Grid(tuple(tried[:split]), tuple(tried[split:]))
                    reached = score(candidate)
                    if reached > best + _LEAST_GAIN:
                        grid, best, values = candidate, reached, tried
            if best == before:
                break
    return best, grid


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(sorted(float(f"{value:.3g}") for value in values))
