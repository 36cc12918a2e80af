"""Anchors of several levels, and which level a RoI is pooled from: in torch and in NumPy alike."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.geometry import pooling
from pipeline.geometry.anchors import AnchorPlacement, grid_anchors, grid_centres, grid_shapes, level_shapes
from pipeline.geometry.layout import MapLayout
from pipeline.geometry.pooling import Pooling
from pipeline.nn.anchors import AnchorGrid, KeptAnchors
from pipeline.nn.roi_pooling import POOLS, pool_levels, roi_levels
from tests.layouts import PYRAMID, TOY
from tests.views.scene import HEIGHT, WIDTH

RATIOS, SCALES = (0.5, 1.0), (1.0, 1.5)
SIZES = ((10, 16), (5, 8), (2, 4))
"""Of an image of the scene, 96 x 64 px."""


def numpy_anchors(
    layout: MapLayout, sizes: tuple[tuple[int, int], ...], placement: AnchorPlacement, whole_sizes: bool = False
) -> np.ndarray:
    """All anchors of 16 px, as what is shown has them."""
    shapes = grid_shapes(16, RATIOS, SCALES)
    return np.concatenate(
        [
            grid_anchors(
                grid_centres(sizes, level, layout, placement), level_shapes(shapes, scale, placement, whole_sizes)
            )
            for level, scale in enumerate(layout.scales)
        ]
    )


def test_anchors_lie_level_after_level_and_grow_with_the_stride_in_torch_and_numpy_alike() -> None:
    assert TOY.sizes(HEIGHT, WIDTH) == SIZES
    assert TOY.sizes(5, 100) == ((4, 16), (2, 8), (1, 4))  # padded to the coarsest stride, as a trunk pads it
    expected = [
        ((x + 0.5) * stride, (y + 0.5) * stride, ratio, (16 * scale * stride / 6) ** 2)
        for stride, (height, width) in zip((6, 12, 24), SIZES, strict=True)
        for y, x, ratio, scale in itertools.product(range(height), range(width), RATIOS, SCALES)
    ]
    grid = AnchorGrid(16, RATIOS, SCALES, TOY)
    anchors = grid.exact(SIZES).numpy()
    sides, centres = anchors[:, 2:] - anchors[:, :2], (anchors[:, 2:] + anchors[:, :2]) / 2
    found = np.stack([*centres.T, sides[:, 1] / sides[:, 0], sides.prod(axis=1)], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_array_equal(numpy_anchors(TOY, SIZES, "centred"), grid(SIZES).numpy())


@pytest.mark.parametrize("whole_sizes", [False, True])
@pytest.mark.parametrize("placement", ["centred", "detectron2", "torchvision"])
def test_each_placement_is_the_same_in_torch_and_numpy_and_where_anchors_are_kept(
    placement: AnchorPlacement, whole_sizes: bool
) -> None:
    grid = AnchorGrid(16, RATIOS, SCALES, PYRAMID, placement, whole_sizes)
    kept = KeptAnchors(grid)
    for size in ((96, 160), (64, 64), (352, 96), (96, 352), (96, 160)):
        sizes = PYRAMID.sizes(*size)
        assert torch.equal(kept(sizes, torch.device("cpu")), grid(sizes))
        np.testing.assert_array_equal(numpy_anchors(PYRAMID, sizes, placement, whole_sizes), grid(sizes).numpy())


def test_kept_anchors_of_larger_maps_have_the_steps_of_the_image_in_them() -> None:
    grid, cpu = AnchorGrid(16, RATIOS, SCALES, PYRAMID, "torchvision"), torch.device("cpu")
    own, padded = PYRAMID.sizes(96, 160), PYRAMID.sizes(352, 192)
    found = KeptAnchors(grid)(padded, cpu, grid.steps(own))
    levels = found.split([high * wide * grid.per_location for high, wide in padded])
    inside = [
        level.reshape(*cells, -1, 4)[:high, :wide].reshape(-1, 4)
        for level, cells, (high, wide) in zip(levels, padded, own, strict=True)
    ]
    assert torch.equal(torch.cat(inside), grid(own)) and not torch.equal(found, grid(padded))


def test_whole_sizes_are_truncated_level_by_level_whatever_the_ratio() -> None:
    """Those of torchvision's RetinaNet: 32 x 2^(1/3) is 40.3, 64 x 2^(1/3) 80.6, 512 x 2^(2/3) 812.7."""
    shapes = grid_shapes(32, RATIOS, [1.0, 2 ** (1 / 3), 2 ** (2 / 3)])
    found = [np.sqrt(level_shapes(shapes, 2.0**level, "detectron2", True).prod(axis=1)) for level in range(5)]
    expected = [[32, 40, 50], [64, 80, 101], [128, 161, 203], [256, 322, 406], [512, 645, 812]]
    np.testing.assert_allclose(found, np.tile(expected, len(RATIOS)), rtol=1e-12)
    ratios = level_shapes(shapes, 16.0, "detectron2", True)
    np.testing.assert_allclose(ratios[:, 1] / ratios[:, 0], np.repeat(RATIOS, 3), rtol=1e-12)


def test_placements_lie_on_centres_or_on_corners_of_cells_and_torchvisions_is_rounded() -> None:
    """The first anchors of a pyramid's first level, and how far apart those of its last are in an image whose P5 has 25
    rows and 10 columns."""
    sizes = PYRAMID.sizes(800, 320)
    first = sum(high * wide for high, wide in sizes[:4]) * len(RATIOS)
    found, apart = {}, {}
    for placement in ("centred", "detectron2", "torchvision"):
        anchors = AnchorGrid(32, RATIOS, (1.0,), PYRAMID, placement).exact(sizes)  # type: ignore[arg-type]
        found[placement] = np.round(anchors[:2].numpy(), 3).tolist()
        last = anchors[first:].reshape(13, 5, len(RATIOS), 4)
        apart[placement] = ((last[1, 0] - last[0, 0])[0, 1].item(), (last[0, 1] - last[0, 0])[0, 0].item())
    assert found == {
        "centred": [[-20.627, -9.314, 24.627, 13.314], [-14, -14, 18, 18]],
        "detectron2": [[-22.627, -11.314, 22.627, 11.314], [-16, -16, 16, 16]],
        "torchvision": [[-23, -11, 23, 11], [-16, -16, 16, 16]],
    }
    assert apart == {"centred": (64, 64), "detectron2": (64, 64), "torchvision": (800 // 13, 64)}


boxes_of_any_size = st.lists(st.tuples(*[st.floats(0, 1500, width=32)] * 4), min_size=1, max_size=8)


@given(boxes_of_any_size, st.sampled_from([(6, 12, 24), (4, 8, 16, 32), (16,)]))
def test_torch_and_numpy_give_rois_the_same_level(corners: list[tuple[float, ...]], strides: tuple[int, ...]) -> None:
    rois = np.array([(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in corners], np.float32)
    found = pooling.roi_levels(rois, strides)
    assert roi_levels(torch.from_numpy(rois), strides).tolist() == found.tolist()
    for (x1, y1, x2, y2), level in zip(rois.astype(float).tolist(), found.tolist(), strict=True):
        exact = math.log2(max(math.sqrt((x2 - x1) * (y2 - y1)), 1e-4) / 224 * 16 / strides[0])
        assert abs(min(max(math.floor(exact), 0), len(strides) - 1) - level) <= (abs(exact - round(exact)) < 1e-4)


def test_a_roi_of_224_px_is_pooled_from_stride_16_and_one_twice_as_large_from_the_next_level() -> None:
    sides = np.array([10, 111, 112, 223, 224, 447, 448, 5000], np.float32)
    rois = np.stack([sides * 0, sides * 0, sides, sides], axis=1)
    assert pooling.roi_levels(rois, (4, 8, 16, 32)).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert pooling.roi_levels(rois, (16,)).tolist() == [0] * 8


@pytest.mark.parametrize("pool", POOLS)
def test_each_roi_is_pooled_from_the_map_of_its_level_in_torch_and_numpy_alike(pool: str) -> None:
    draw = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, 3, 400 // stride, 400 // stride, generator=draw) for stride in TOY.strides]
    sides = torch.tensor([20.0, 90, 170, 380])
    rois = [torch.stack([sides * 0, sides * 0 + 3, sides, sides], dim=1), torch.zeros(0, 4), sides.new_ones(0, 4)][:2]
    found = pool_levels(maps, rois, TOY, Pooling(pool, 3))
    own = [own_map[0].numpy() for own_map in maps]
    expected = pooling.pool_rois(own, rois[0].numpy(), TOY, Pooling(pool, 3))
    assert pooling.roi_levels(rois[0].numpy(), TOY.strides).tolist() == [0, 0, 1, 2]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)
    single = torch.cat([torch.zeros(1, 1), rois[0][3:]], dim=1)
    np.testing.assert_allclose(found[3:], POOLS[pool](maps[2], single, 1 / 24, 3), atol=1e-6)
