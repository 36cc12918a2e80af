"""The best anchor of each box is that of the whole grid, IoU by IoU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.geometry.anchors import AnchorPlacement, grid_shapes, level_shapes
from pipeline.geometry.backbones import LAYOUTS, VGG16, layout_of
from pipeline.geometry.layout import Level, MapLayout
from pipeline.geometry.trunk_settings import TrunkSettings
from pipeline.nn.anchors import AnchorGrid, base_anchors, inside
from pipeline.nn.backbones.build import BACKBONES, build_trunk
from pipeline.nn.boxes import pairwise_iou
from pipeline.params.backbone import BackboneParams
from pipeline.preflight.anchor_fit import Placement, shape_iou
from tests.defaults import default_content
from tests.layouts import PYRAMID

lengths = st.lists(st.floats(0.1, 8), min_size=1, max_size=3)
sides = st.integers(1, 90)
levels = st.builds(Level, stride=st.sampled_from([2, 6, 8, 12, 16, 24]), channels=st.just(1), round_up=st.booleans())
by_stride = st.lists(levels, min_size=1, max_size=3, unique_by=lambda level: level.stride).map(
    lambda own: tuple(sorted(own, key=lambda level: level.stride))
)
layouts = st.builds(MapLayout, by_stride, st.sampled_from([1, 32]))


def every_anchor(
    layout: MapLayout,
    base_size: float,
    ratios: list[float],
    scales: list[float],
    height: int,
    width: int,
    on_cells: AnchorPlacement = "centred",
    whole_sizes: bool = False,
) -> torch.Tensor:
    return AnchorGrid(base_size, ratios, scales, layout, on_cells, whole_sizes).exact(layout.sizes(height, width))


@st.composite
def images(draw: st.DrawFn) -> tuple[int, int, np.ndarray]:
    """H, W and (N, 4) float32 boxes inside."""
    height, width = draw(sides), draw(sides)
    x, y = st.floats(0, width, width=32), st.floats(0, height, width=32)
    corners = draw(st.lists(st.tuples(x, y, x, y), min_size=1, max_size=5))
    boxes = np.array([(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in corners], np.float32)
    return height, width, boxes


def brute_force(height: int, width: int, boxes: np.ndarray, anchors: torch.Tensor, border: float | None) -> np.ndarray:
    if border is not None:
        anchors = anchors[inside(anchors, height, width, border)]
    if len(anchors) == 0:
        return np.zeros(len(boxes))
    return pairwise_iou(torch.from_numpy(boxes).double(), anchors).amax(dim=1).numpy()


@given(images(), lengths, lengths, st.sampled_from([1.0, 8.0, 16.0]), layouts | st.just(PYRAMID), st.data())
def test_the_best_iou_is_that_of_all_anchors(
    image: tuple[int, int, np.ndarray],
    ratios: list[float],
    scales: list[float],
    base_size: float,
    layout: MapLayout,
    data: st.DataObject,
) -> None:
    height, width, boxes = image
    border = data.draw(st.none() | st.sampled_from([0.0, 4.0, -3.0]) | st.floats(-5, 40))
    on_cells = data.draw(st.sampled_from(["centred", "detectron2", "torchvision"]))
    whole_sizes = data.draw(st.booleans())
    shapes = grid_shapes(base_size, ratios, scales)
    assume(level_shapes(shapes, 1, on_cells, whole_sizes).min() > 0)
    placement = Placement(layout, border, on_cells=on_cells, whole_sizes=whole_sizes)
    anchors = every_anchor(layout, base_size, ratios, scales, height, width, on_cells, whole_sizes)
    found = placement.best_iou(boxes, np.full((len(boxes), 2), (height, width), np.int32), shapes)
    assert found == pytest.approx(brute_force(height, width, boxes, anchors, border), abs=1e-12)


@pytest.mark.parametrize("side", range(1, 60))
def test_an_anchor_that_ends_exactly_at_the_border_counts(side: int) -> None:
    boxes, size = np.array([[0, 0, side, side]], np.float32), np.array([[side, side]], np.int32)
    placement = Placement(MapLayout((Level(8, 1, round_up=True),)), 0.0)
    anchors = every_anchor(placement.layout, 8.0, [1.0], [1.0, 3.0], side, side)
    found = placement.best_iou(boxes, size, grid_shapes(8.0, [1.0], [1.0, 3.0]))
    assert found == pytest.approx(brute_force(side, side, boxes, anchors, 0.0), abs=1e-12)
    assert (found[0] > 0) == (side >= 8)


def test_many_boxes_are_judged_each_by_its_own_image() -> None:
    draw = np.random.default_rng(0)
    size = draw.integers(60, 200, (9_000, 2)).astype(np.int32)
    corners = draw.uniform(0, 1, (9_000, 2, 2)) * size[:, None, ::-1]
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)
    placement, shapes = Placement(VGG16.layout(TrunkSettings()), 0.0), grid_shapes(16, [0.5, 1, 2], [1, 2, 4])
    found = placement.best_iou(boxes, size, shapes)
    for row in range(0, 9_000, 450):
        own = slice(row, row + 1)
        assert placement.best_iou(boxes[own], size[own], shapes) == found[own]


@given(st.floats(1, 64), lengths, lengths)
def test_shapes_are_those_of_the_detectors_anchors(base_size: float, ratios: list[float], scales: list[float]) -> None:
    anchors = base_anchors(base_size, ratios, scales).numpy()
    # To the last bit: an anchor that ends at the border counts for both or for none.
    np.testing.assert_array_equal(grid_shapes(base_size, ratios, scales) / 2, anchors[:, 2:])


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("ceil_pool", [False, True])
def test_layouts_by_name_are_those_of_the_trunks(name: str, ceil_pool: bool) -> None:
    trunk = build_trunk(name, frozen_stages=0, ceil_pool=ceil_pool)
    layout = layout_of(name, ceil_pool=ceil_pool)
    assert layout == trunk.layout


def test_every_backbone_of_params_has_its_layout() -> None:
    assert sorted(LAYOUTS) == sorted(BACKBONES)
    for name in BACKBONES:
        assert (
            BackboneParams.model_validate({**default_content()["backbone"], "name": name, "weights": "random"}).name
            == name
        )


@given(st.lists(st.tuples(st.floats(0.5, 99), st.floats(0.5, 99)), min_size=1, max_size=4))
def test_iou_of_shapes_is_that_of_co_centred_boxes(sizes: list[tuple[float, float]]) -> None:
    shapes = np.array(sizes)
    boxes = torch.from_numpy(np.concatenate([-shapes, shapes], axis=1) / 2)
    assert shape_iou(shapes, shapes) == pytest.approx(pairwise_iou(boxes, boxes).numpy())
    assert (np.diagonal(shape_iou(shapes, shapes)) == 1).all()
