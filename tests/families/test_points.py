"""The made-up family's own functions: which point finds which object, losses, boxes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.building.layout import map_layout
from pipeline.dense.assignment import Assignment, Truth, assign
from pipeline.geometry.points import Grid, Locations
from pipeline.params.file import load_params
from pipeline.params.reading import Params
from tests.families.points_project import visible, write_project
from tests.families.truths import check_mirror, halves, truth

SIZE = (128, 192)  # multiples of the coarsest stride, 32


class Points(NamedTuple):
    targets: ModuleType
    train: ModuleType
    detect: ModuleType
    params: Params
    locations: Locations


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Points]:
    with visible():
        from pipeline.families.points import dense_targets, detect_dense, train_dense

        params = load_params(write_project(tmp_path_factory.mktemp("points"), {}) / "params.yaml")
        locations = dense_targets.locations(map_layout(params.backbone), params)
        yield Points(dense_targets, train_dense, detect_dense, params, locations)


def assigned(points: Points, known: Truth, size: tuple[int, int] = SIZE) -> tuple[Assignment, Grid]:
    grid = points.locations.of(*size)
    return assign(points.targets, known, grid, size, points.params), grid  # type: ignore[arg-type]


def found_at(own: Assignment, grid: Grid, gt: int) -> list[tuple[int, float, float]]:
    """Level, x and y of the points that are to find a gt box."""
    index = np.flatnonzero((own.labels > 0) & (own.matched_gt == gt))
    return [
        (int(level), *map(float, centre))
        for level, centre in zip(grid.levels()[index], grid.centres()[index], strict=True)
    ]


def test_points_nearer_than_the_radius_find_an_object_and_those_at_it_do_not(points: Points) -> None:
    """Radius 1.5 at stride 8 is 12 px: from a centre at 24, points at 12 and 36 are as far, at 20 and 28 nearer."""
    own, grid = assigned(points, truth([4, 4, 44, 44]))
    assert found_at(own, grid, 0) == [(0, x, y) for y in (20, 28) for x in (20, 28)]
    own, grid = assigned(points, truth([5, 4, 45, 44]))  # a pixel to the right: 25 is less than 12 from 36
    assert found_at(own, grid, 0) == [(0, x, y) for y in (20, 28) for x in (20, 28, 36)]


def test_a_point_on_an_objects_edge_does_not_find_it(points: Points) -> None:
    own, grid = assigned(points, truth([12, 20, 20, 28.5]))  # 12 and 20 are points' x; 20 and 28 points' y
    assert found_at(own, grid, 0) == []
    own, grid = assigned(points, truth([11.5, 19.5, 20, 28.5]))
    assert found_at(own, grid, 0) == [(0, 12, 20), (0, 12, 28)]


@pytest.mark.parametrize(("side", "level"), [(48.0, 0), (48.5, 1), (96.0, 1), (96.5, 2)])
def test_an_objects_longer_side_says_its_level(points: Points, side: float, level: int) -> None:
    for box in ([10, 10, 10 + side, 40], [10, 10, 40, 10 + side]):
        own, grid = assigned(points, truth(box))
        assert {place[0] for place in found_at(own, grid, 0)} == {level}


def test_of_two_objects_at_a_point_it_finds_the_smaller_and_of_equals_the_first(points: Points) -> None:
    own, grid = assigned(points, truth([0, 0, 48, 48], [8, 8, 40, 40]))
    assert found_at(own, grid, 0) == [] and len(found_at(own, grid, 1)) == 4
    assert set(own.labels.tolist()) == {0, 2}
    own, grid = assigned(points, truth([8, 8, 40, 40], [8, 8, 40, 40]))
    assert len(found_at(own, grid, 0)) == 4 and found_at(own, grid, 1) == []


def test_the_point_at_the_centre_suits_an_object_best(points: Points) -> None:
    own, grid = assigned(points, truth([0, 0, 40, 40]))
    best = int(np.argmax(own.quality))
    assert grid.centres()[best].tolist() == [20, 20] and own.quality[best] == 1.0
    assert own.quality.max() <= 1.0 and (own.quality[own.labels <= 0] == 0).all()


def test_points_in_a_region_are_ignored_but_those_that_find_an_object(points: Points) -> None:
    region = [0.0, 0.0, 64.0, 64.0]
    plain, grid = assigned(points, truth([4, 4, 44, 44]))
    own, _ = assigned(points, truth([4, 4, 44, 44], regions=[region]))
    inside = (grid.centres() < 64).all(axis=1)
    assert (own.labels[inside & (plain.labels == 0)] == -1).all() and inside.sum() == 64 + 16 + 4
    assert (own.labels[~inside | (plain.labels > 0)] == plain.labels[~inside | (plain.labels > 0)]).all()


def test_an_image_without_objects_is_background(points: Points) -> None:
    own, grid = assigned(points, truth())
    assert own.labels.tolist() == [0] * len(grid)


BOXES = st.lists(
    st.tuples(*[st.integers(0, 2 * side - 2) for side in SIZE[::-1]], st.integers(2, 300), st.integers(2, 300)),
    max_size=6,
)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(BOXES, BOXES)
def test_a_mirrored_image_has_the_mirrored_assignment(
    points: Points, objects: list[tuple[int, ...]], regions: list[tuple[int, ...]]
) -> None:
    """Boxes lie on halves of pixels."""
    beyond = [[x / 2, y / 2, (x + w) / 2, (y + h) / 2] for x, y, w, h in regions]
    known = truth(*halves(objects, SIZE), regions=beyond)
    check_mirror(partial(assigned, points), known, SIZE)


@pytest.mark.parametrize("scale", [1.6, 1.28])
def test_so_has_one_whose_boxes_are_resized(points: Points, scale: float) -> None:
    """Objects of whole pixels in photos of 500 x 375; float32 rounds what is equal apart."""
    size, draw = (round(375 * scale), round(500 * scale)), np.random.default_rng(0)
    for _ in range(25):
        low = draw.integers(0, [400, 300, 400, 300], (8, 4))[:, :2]
        high = np.minimum(low + draw.integers(8, 200, (8, 2)), [500, 375])
        boxes = np.concatenate([low, high], axis=1).astype(np.float32) * np.float32(scale)
        check_mirror(partial(assigned, points), Truth(boxes[:6], np.arange(1, 7), boxes[6:]), size)


def test_boxes_of_perfect_outputs_are_the_gt_boxes_and_cost_nothing(points: Points) -> None:
    from pipeline.families.points.head import boxes_at

    from pipeline.geometry.points import edge_distances

    box = np.array([[10, 12, 50, 40]], np.float32)
    own, grid = assigned(points, truth([10, 12, 50, 40]))
    fg = np.flatnonzero(own.labels > 0)
    strides = np.array(grid.strides)[grid.levels()[fg]]
    edges = np.log(edge_distances(grid.centres()[fg], box)[:, 0] / strides[:, None])
    tensors: list[Any] = [torch.from_numpy(own).float() for own in (grid.centres()[fg], strides, edges)]
    found = boxes_at(*tensors)
    torch.testing.assert_close(found, torch.from_numpy(box).expand(len(fg), -1), rtol=0, atol=1e-4)
    iou = points.train._iou(found, torch.from_numpy(box).expand(len(fg), -1))
    torch.testing.assert_close(iou, torch.ones(len(fg)), rtol=0, atol=1e-5)
