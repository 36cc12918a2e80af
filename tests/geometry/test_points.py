"""Flat indices of locations, and where they lie."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.geometry.layout import Level, MapLayout
from pipeline.geometry.points import Grid, Locations, Places, edge_distances, inside_any

LAYOUT = MapLayout((Level(8, 4), Level(16, 4), Level(32, 4)))
SIDES = st.integers(1, 150)
PER_CELL = st.tuples(*[st.integers(1, 4)] * 3)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(SIDES, SIDES, PER_CELL)
def test_places_and_indices_are_inverse_and_ascend_by_level_row_column_and_anchor(
    height: int, width: int, per_cell: tuple[int, int, int]
) -> None:
    grid = Locations(LAYOUT, per_cell).of(height, width)
    index = np.arange(len(grid))
    places = grid.places(index)
    assert grid.index(places).tolist() == index.tolist()
    assert list(zip(*map(list, places), strict=True)) == sorted(zip(*map(list, places), strict=True))
    assert grid.levels().tolist() == places.level.tolist()


@settings(derandomize=True, deadline=None, max_examples=40)
@given(SIDES, SIDES, st.integers(0, 70), st.integers(0, 70), PER_CELL)
def test_locations_lie_where_they_lay_when_the_image_is_padded(
    height: int, width: int, below: int, right: int, per_cell: tuple[int, int, int]
) -> None:
    locations = Locations(LAYOUT, per_cell)
    own, padded = locations.of(height, width), locations.of(height + below, width + right)
    inside = own.within(padded)
    assert len(set(inside.tolist())) == len(own) and (np.diff(inside) > 0).all()
    assert (padded.centres()[inside] == own.centres()).all()
    assert (padded.places(inside).anchor == own.places(np.arange(len(own))).anchor).all()


def test_the_places_of_a_small_grid() -> None:
    grid = Grid((8, 16), ((2, 3), (1, 1)), (2, 1))
    assert (len(grid), grid.counts) == (13, (12, 1))
    assert grid.centres()[[0, 1, 2, 11, 12]].tolist() == [[4, 4], [4, 4], [12, 4], [20, 12], [8, 8]]
    assert [int(part) for part in grid.places(np.array(9))] == [0, 1, 1, 1]
    assert grid.index(Places(*map(np.array, (1, 0, 0, 0)))) == 12
    first, second = grid.split(np.arange(13))
    assert first.shape == (2, 3, 2) and first[1, 1, 1] == 9 and second.tolist() == [[[12]]]


def test_a_number_of_predictions_for_each_level_is_needed() -> None:
    with pytest.raises(ValueError, match=r"per_cell \(1, 1\)"):
        Locations(LAYOUT, (1, 1))
    with pytest.raises(ValueError, match="from 1"):
        Locations(LAYOUT, (1, 0, 1))


def test_a_point_on_the_edge_of_a_box_is_not_inside() -> None:
    points = np.array([[4.0, 4.0], [12.0, 4.0]])
    boxes = np.array([[4, 0, 12, 8], [8, 0, 16, 8]], np.float32)
    assert edge_distances(points, boxes).tolist() == [
        [[0, 4, 8, 4], [-4, 4, 12, 4]],
        [[8, 4, 0, 4], [4, 4, 4, 4]],
    ]
    assert inside_any(points, boxes).tolist() == [False, True]
    assert inside_any(points, np.zeros((0, 4), np.float32)).tolist() == [False, False]


def test_what_float32_has_rounded_lies_on_the_edge_still() -> None:
    points = np.array([[208.0, 4.0], [208.5, 4.0]])
    for x in (np.float32(207.99998), np.float32(208.00002)):
        right, left = np.array([[100, 0, x, 8]], np.float32), np.array([[x, 0, 300, 8]], np.float32)
        assert inside_any(points, right).tolist() == [False, False] and edge_distances(points, right)[0, 0, 2] == 0
        assert inside_any(points, left).tolist() == [False, True] and edge_distances(points, left)[0, 0, 0] == 0


def test_points_in_many_boxes_take_memory_for_one() -> None:
    points, boxes = np.zeros((20_000, 2)), np.tile(np.array([[1, 1, 9, 9]], np.float32), (100, 1))
    tracemalloc.start()
    try:
        assert not inside_any(points, boxes).any()
        assert tracemalloc.get_traced_memory()[1] < 10 * points.nbytes  # all at once are 200 times the points
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("side", "strides", "per_cell", "count"),
    [
        (300, (8, 16, 32, 64, 100, 300), (4, 6, 6, 6, 4, 4), 8732),
        (512, (8, 16, 32, 64, 128, 256, 512), (4, 6, 6, 6, 6, 4, 4), 24564),
        (800, (8, 16, 32, 64, 128), (9,) * 5, 9 * (100**2 + 50**2 + 25**2 + 13**2 + 7**2)),
        (800, (8, 16, 32, 64, 128), (1,) * 5, 100**2 + 50**2 + 25**2 + 13**2 + 7**2),
    ],
    ids=["SSD300", "SSD512", "RetinaNet", "FCOS"],
)
def test_published_detectors_predict_at_as_many_locations(
    side: int, strides: tuple[int, ...], per_cell: tuple[int, ...], count: int
) -> None:
    layout = MapLayout(tuple(Level(stride, 1, round_up=True) for stride in strides))
    assert len(Locations(layout, per_cell).of(side, side)) == count
