"""Laws of k-means under 1 - IoU and of the search for ratios and scales."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.geometry.anchors import grid_shapes
from pipeline.preflight.anchor_fit import shape_iou
from pipeline.preflight.anchor_search import Grid, cluster_shapes, fit_grid, quantile_grid

side = st.floats(1, 400)
many = st.lists(st.tuples(side, side), min_size=1, max_size=30).map(np.array)


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def mean_iou(sizes: np.ndarray, shapes: np.ndarray) -> float:
    return float(shape_iou(sizes, shapes).max(axis=1).mean())


@given(many, st.integers(1, 6), st.integers(0, 9))
def test_mean_iou_never_falls_and_is_that_of_the_result(sizes: np.ndarray, k: int, seed: int) -> None:
    clusters = cluster_shapes(sizes, k, seeded(seed))
    assert (np.diff(clusters.mean_iou) >= -1e-12).all()
    assert clusters.mean_iou[-1] == pytest.approx(mean_iou(sizes, clusters.shapes))


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=6, unique=True), st.data())
def test_k_distinct_shapes_are_found_exactly(distinct: list[tuple[int, int]], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.sampled_from(range(len(distinct))), max_size=10))
    sizes = np.array([*distinct, *(distinct[row] for row in rows)], np.float64)
    clusters = cluster_shapes(sizes, len(distinct), seeded())
    assert sorted(map(tuple, clusters.shapes.tolist())) == sorted(distinct)
    assert clusters.mean_iou[-1] == 1
    # One more than there are adds none.
    assert len(cluster_shapes(sizes, len(distinct) + 1, seeded()).shapes) == len(distinct)


@given(many, st.integers(1, 5), st.sampled_from([0.25, 2.0, 8.0]))
def test_larger_boxes_give_shapes_as_much_larger(sizes: np.ndarray, k: int, factor: float) -> None:
    plain, scaled = cluster_shapes(sizes, k, seeded()), cluster_shapes(sizes * factor, k, seeded())
    assert np.array_equal(plain.shapes * factor, scaled.shapes)


@given(many, st.integers(1, 5))
def test_the_same_seed_gives_the_same_shapes(sizes: np.ndarray, k: int) -> None:
    assert np.array_equal(cluster_shapes(sizes, k, seeded(3)).shapes, cluster_shapes(sizes, k, seeded(3)).shapes)


def test_groups_that_lie_apart_are_told_apart() -> None:
    draw = np.random.default_rng(1)
    centres = np.array([[10.0, 10.0], [30.0, 90.0], [200.0, 60.0]])
    sizes = np.concatenate([centre * draw.uniform(0.9, 1.1, (50, 2)) for centre in centres])
    assert cluster_shapes(sizes, 3, seeded()).shapes == pytest.approx(centres, rel=0.1)


@given(many, st.integers(1, 3), st.integers(1, 3))
def test_a_grid_is_no_worse_than_where_it_starts(sizes: np.ndarray, ratios: int, scales: int) -> None:
    def score(grid: Grid) -> float:
        return mean_iou(sizes, grid_shapes(16, grid.ratios, grid.scales))

    starts = [Grid((1.0,) * ratios, (4.0,) * scales), quantile_grid(sizes, 16, ratios, scales)]
    found = fit_grid(score, starts)
    assert (len(found.ratios), len(found.scales)) == (ratios, scales)
    assert list(found.ratios) == sorted(found.ratios) and list(found.scales) == sorted(found.scales)
    assert score(found) >= max(map(score, starts)) - 0.02  # three digits are kept


def test_boxes_of_a_grid_get_that_grid() -> None:
    sizes = grid_shapes(16, [0.5, 2.0], [1.0, 4.0])

    def score(grid: Grid) -> float:
        return mean_iou(sizes, grid_shapes(16, grid.ratios, grid.scales))

    found = fit_grid(score, [quantile_grid(sizes, 16, 2, 2), Grid((1.0, 1.0), (2.0, 2.0))])
    assert score(found) > 0.97
    assert found.ratios == pytest.approx((0.5, 2.0), rel=0.05) and found.scales == pytest.approx((1.0, 4.0), rel=0.05)
