"""The default boxes: how many, where, and how large."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pipeline.building.layout import map_layout
from pipeline.families.ssd import head
from pipeline.families.ssd.default_boxes import box_shares, default_boxes, locations
from pipeline.geometry.points import Grid
from pipeline.params.reading import Params
from tests.ssd_models import SSD512, ssd_params


def grid_of(params: Params) -> tuple[Grid, tuple[int, int]]:
    size = (params.resize.fixed_height, params.resize.fixed_width)
    return locations(map_layout(params.backbone), params).of(*size), size


@pytest.mark.parametrize(("overlay", "count"), [({}, 8732), (SSD512, 24564)])
def test_there_are_as_many_as_in_the_paper(overlay: dict[str, Any], count: int) -> None:
    params = ssd_params(overlay)
    grid, size = grid_of(params)
    boxes = default_boxes(grid, size, params.ssd)
    assert len(grid) == len(boxes) == count
    assert (boxes[:, 2:] > boxes[:, :2]).all()


@pytest.mark.parametrize(
    ("overlay", "least"),
    [
        ({}, (30, 60, 111, 162, 213, 264)),
        (
            {"ssd": {"scales": [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05]}},
            (21, 45, 99, 153, 207, 261),
        ),
        (SSD512, (35.84, 76.8, 153.6, 230.4, 307.2, 384, 460.8)),
    ],
)
def test_sides_are_those_of_the_references(overlay: dict[str, Any], least: tuple[float, ...]) -> None:
    """weiliu89/caffe: examples/ssd/ssd_pascal.py, ssd_coco.py and ssd_pascal_512.py."""
    params = ssd_params(overlay)
    side = params.resize.fixed_width
    levels = [own * side for own in box_shares(params.ssd)]
    assert np.array([own[0] for own in levels]) == pytest.approx(np.array([[own, own] for own in least]))
    following = (*least[1:], params.ssd.scales[-1] * side)
    assert [own[1, 0] ** 2 for own in levels] == pytest.approx([a * b for a, b in zip(least, following, strict=True)])
    for own, ratios in zip(levels, params.ssd.ratios, strict=True):
        found = own[2:, 0] / own[2:, 1]
        assert found.tolist() == pytest.approx([value for ratio in ratios for value in (ratio, 1 / ratio)])
        assert own.prod(axis=1)[2:] == pytest.approx(own[0, 0] ** 2)


def test_the_first_cell_of_the_first_level_and_the_last_of_all() -> None:
    params = ssd_params()
    grid, size = grid_of(params)
    boxes = default_boxes(grid, size, params.ssd)
    mean, wide, high = (60 * 30) ** 0.5, 30 * 2**0.5, 30 / 2**0.5
    sides = np.array([[30, 30], [mean, mean], [wide, high], [high, wide]])
    assert boxes[:4] == pytest.approx(np.concatenate([4 - sides / 2, 4 + sides / 2], axis=1))
    assert boxes[4, :2] == pytest.approx([12 - 15, 4 - 15])  # x before y
    assert boxes[-4] == pytest.approx([150 - 132, 150 - 132, 150 + 132, 150 + 132])


def test_clipped_no_side_is_longer_than_the_images() -> None:
    params = ssd_params({"ssd": {"clip": "sides"}})
    grid, size = grid_of(params)
    own, free = default_boxes(grid, size, params.ssd), default_boxes(grid, size, ssd_params().ssd)
    assert (free[:, 2:] - free[:, :2]).max() > 300 >= (own[:, 2:] - own[:, :2]).max()
    unchanged = (free[:, 2:] - free[:, :2] <= 300).all(axis=1)
    assert (own[unchanged] == free[unchanged]).all() and (own[~unchanged] != free[~unchanged]).any(axis=1).all()


def test_those_of_the_network_are_those_of_the_targets_in_images_of_any_proportion() -> None:
    params = ssd_params()
    grid, size = (
        Grid((8, 16, 32, 64, 100, 300), ((3, 5), (2, 3), (1, 2), (1, 1), (1, 1), (1, 1)), (4, 6, 6, 6, 4, 4)),
        (20, 40),
    )
    ours = default_boxes(grid, size, params.ssd)
    assert ours[0] == pytest.approx([4 - 2, 4 - 1, 4 + 2, 4 + 1])  # a tenth of 40, and of 20
    found = head.default_boxes(grid, size, params.ssd)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), torch.from_numpy(ours), rtol=0, atol=1e-4)
