"""Which anchors are to find which object: by their definition, at the thresholds, and in a mirrored image."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.building.anchors import anchor_grid
from pipeline.building.layout import map_layout
from pipeline.dense.assignment import Assignment, Truth, assign
from pipeline.families.retinanet import dense_targets
from pipeline.families.retinanet.locations import anchors_on_grid
from pipeline.families.retinanet.matching import inside_regions, match
from pipeline.geometry.points import Grid, on_grid
from pipeline.params.reading import Params
from tests.families.retinanet_project import PYRAMID, params_of
from tests.families.truths import check_mirror, halves, truth

CENTRED = params_of(PYRAMID)
PLACEMENTS = {
    "centred": CENTRED,
    "detectron2": params_of(PYRAMID, {"anchors": {"placement": "detectron2"}}),
    "torchvision": params_of(PYRAMID, {"anchors": {"placement": "torchvision", "whole_sizes": True}}),
    "one level": params_of(),
}


def grid_of(params: Params, size: tuple[int, int]) -> Grid:
    return dense_targets.locations(map_layout(params.backbone), params).of(*size)


def assigned(params: Params, known: Truth, size: tuple[int, int]) -> tuple[Assignment, Grid]:
    grid = grid_of(params, size)
    return assign(dense_targets, known, grid, size, params), grid  # type: ignore[arg-type]


def every_anchor(params: Params, size: tuple[int, int]) -> np.ndarray:
    """(N, 4) float64, on the grid, from the edges along each axis."""
    levels = anchors_on_grid(map_layout(params.backbone), grid_of(params, size), size, params)
    found = []
    for own in levels:
        x1, x2 = (np.broadcast_to(edges[None], (len(own.low_y), *edges.shape)) for edges in (own.low_x, own.high_x))
        y1, y2 = (np.broadcast_to(edges[:, None], x1.shape) for edges in (own.low_y, own.high_y))
        found.append(np.stack([x1, y1, x2, y2], axis=-1).reshape(-1, 4))
    return np.concatenate(found)


def shared_areas(anchors: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(N, G)"""
    low, high = np.maximum(anchors[:, None, :2], boxes[:, :2]), np.minimum(anchors[:, None, 2:], boxes[:, 2:])
    return (high - low).clip(0).prod(axis=2)


def areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


def random_boxes(seed: int, count: int, size: tuple[int, int]) -> np.ndarray:
    """(count, 4) float32, of any size, some beyond the image's border."""
    draw, (height, width) = np.random.default_rng(seed), size
    sides = np.exp(draw.uniform(np.log(3), np.log(max(size)), (count, 2)))
    centres = draw.uniform(0, 1, (count, 2)) * [width, height]
    return np.concatenate([centres - sides / 2, centres + sides / 2], axis=1).astype(np.float32)


@pytest.mark.parametrize("name", PLACEMENTS)
def test_anchors_lie_where_the_network_has_them_to_the_grids_width(name: str) -> None:
    """Those of the padded image's cells that the image has."""
    params = PLACEMENTS[name]
    layout = map_layout(params.backbone)
    for size in ((160, 224), (203, 95)):
        locations = dense_targets.locations(layout, params)
        padded = locations.of_maps(*size)
        theirs = anchor_grid(params.anchors, layout).exact(padded.cells).numpy()
        own = every_anchor(params, size)
        assert np.abs(own - theirs[locations.of(*size).within(padded)]).max() <= 1 / 128


@given(st.integers(0, 1000), st.integers(0, 6), st.tuples(st.integers(20, 200), st.integers(20, 200)), st.data())
@settings(max_examples=25, deadline=None)
def test_matches_are_those_of_every_anchor_with_every_box(
    seed: int, count: int, size: tuple[int, int], data: st.DataObject
) -> None:
    params = PLACEMENTS[data.draw(st.sampled_from(list(PLACEMENTS)))]
    boxes, grid = random_boxes(seed, count, size), grid_of(params, size)
    if count > 1:
        boxes[1] = boxes[0]  # of equals the first is found
    levels = anchors_on_grid(map_layout(params.backbone), grid, size, params)
    anchors, snapped = every_anchor(params, size), on_grid(boxes)
    shared = shared_areas(anchors, snapped)
    iou = shared / (areas(anchors)[:, None] + areas(snapped) - shared)
    own = match(levels, grid, boxes)
    np.testing.assert_array_equal(own.max_iou, iou.max(axis=1, initial=0))
    overlapping = own.max_iou > 0
    np.testing.assert_array_equal(own.matched_gt[overlapping], iou[overlapping].argmax(axis=1) if count else [])
    best = iou.max(axis=0, initial=0)
    np.testing.assert_array_equal(own.is_best, ((iou == best) & (best > 0)).any(axis=1))
    share = shared / areas(anchors)[:, None]
    for least in (0.25, 1.0):
        np.testing.assert_array_equal(inside_regions(levels, grid, boxes, least), (share >= least).any(axis=1))


def test_thresholds_belong_to_what_is_above_them() -> None:
    """One anchor of 16 px a cell; gt boxes that cover exactly .5 and .4 of one, and nothing else of it."""
    one = params_of({"anchors": {"scales": [1.0], "ratios": [1.0]}, "retinanet": {"low_quality_matches": False}})
    size, first = (64, 64), np.array([4.0, 4, 20, 20])  # the anchor of the cell at 1, 1
    for share, label in ((0.5, 1), (0.4, -1), (0.39, 0)):
        box = first.copy()
        box[2] = 4 + 16 * share
        own, grid = assigned(one, truth(box.tolist()), size)
        place = grid.split(own.labels)[0]
        expected = label if share != 0.4 else -1
        # On the grid 16 x .4 is 6.40625 px and 16 x .39 6.234375.
        assert place[1, 1, 0] == expected, share
    half, _ = assigned(one, truth([4, 4, 12, 20]), size)
    assert half.quality.max() == 0.5 and (half.labels == 1).sum() == 2  # the anchor beside it covers the box as well


def test_a_box_that_no_anchor_suits_is_found_by_the_best_of_all_its_ties() -> None:
    """8 x 8 px in the middle between four cells, inside many anchors of the finest level."""
    small, size = truth([28, 28, 36, 36]), (128, 128)
    own, grid = assigned(CENTRED, small, size)
    fg, anchors = np.flatnonzero(own.labels > 0), every_anchor(CENTRED, size)
    around = (anchors[:, :2] <= 28).all(axis=1) & (anchors[:, 2:] >= 36).all(axis=1)
    smallest = around & (areas(anchors) == areas(anchors)[around].min())
    assert fg.tolist() == np.flatnonzero(smallest).tolist() and len(fg) == 16
    assert set(grid.places(fg).level) == {0} and own.quality[fg].max() < 0.1
    without = params_of(PYRAMID, {"retinanet": {"low_quality_matches": False}})
    assert not (assigned(without, small, size)[0].labels > 0).any()


def test_a_best_anchor_keeps_the_box_that_it_overlaps_most() -> None:
    """As in torchvision's Matcher: the best of a small box inside a large one may be the large one's."""
    one = params_of({"anchors": {"base_size": 32, "scales": [1.0], "ratios": [1.0]}})
    own, grid = assigned(one, truth([4, 4, 36, 36], [18, 18, 22, 22]), (64, 64))
    assert grid.split(own.labels)[0][2, 2, 0] == 1 and 2 not in own.labels


def test_background_in_a_region_is_ignored_and_what_is_to_find_an_object_is_not() -> None:
    box, region, size = [32.0, 32.0, 96.0, 96.0], [0.0, 0.0, 128.0, 128.0], (256, 256)
    plain, grid = assigned(CENTRED, truth(box), size)
    own, _ = assigned(CENTRED, truth(box, regions=[region]), size)
    anchors, region_on_grid = every_anchor(CENTRED, size), np.array([region])
    inside = shared_areas(anchors, region_on_grid)[:, 0] / areas(anchors) >= 0.5
    assert inside.any() and (own.labels[inside & (plain.labels == 0)] == -1).all()
    rest = ~inside | (plain.labels != 0)
    assert (own.labels[rest] == plain.labels[rest]).all() and (own.labels[inside] > 0).any()
    assert len(grid) == len(inside)


def test_an_image_without_objects_is_background() -> None:
    own, grid = assigned(CENTRED, truth(), (64, 96))
    assert own.labels.tolist() == [0] * len(grid)


SIZE = (128, 256)  # multiples of the coarsest stride, 128
BOXES = st.lists(
    st.tuples(*[st.integers(0, 2 * side - 2) for side in SIZE[::-1]], st.integers(2, 500), st.integers(2, 500)),
    max_size=5,
)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(BOXES, BOXES)
def test_a_mirrored_image_has_the_mirrored_assignment(
    objects: list[tuple[int, ...]], regions: list[tuple[int, ...]]
) -> None:
    """Boxes lie on halves of pixels."""
    beyond = [[x / 2, y / 2, (x + w) / 2, (y + h) / 2] for x, y, w, h in regions]
    known = truth(*halves(objects, SIZE), regions=beyond)
    check_mirror(partial(assigned, CENTRED), known, SIZE)


@pytest.mark.parametrize("scale", [1.6, 1.28])
def test_so_has_one_whose_boxes_are_resized(scale: float) -> None:
    """Objects of whole pixels in photos that are resized to 640 x 512; float32 rounds what is equal apart."""
    size, draw = (512, 640), np.random.default_rng(0)
    original = [round(640 / scale), round(512 / scale)] * 2
    for _ in range(5):
        low = draw.integers(0, np.array(original) - 80, (8, 4))[:, :2]
        high = np.minimum(low + draw.integers(8, 200, (8, 2)), original[:2])
        boxes = np.concatenate([low, high], axis=1).astype(np.float32) * np.float32(scale)
        check_mirror(partial(assigned, CENTRED), Truth(boxes[:6], np.arange(1, 7), boxes[6:]), size)


def test_the_paper_has_nine_anchors_a_cell() -> None:
    grid = grid_of(CENTRED, (256, 256))
    assert grid.per_cell == (9,) * 5 and grid.strides == (8, 16, 32, 64, 128)
    assert len(grid) == 9 * sum((256 // stride) ** 2 for stride in grid.strides)
