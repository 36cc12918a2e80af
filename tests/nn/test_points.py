"""Locations as tensors lie where they lie in NumPy, and a head's outputs stand in their order."""

from __future__ import annotations

import torch

from pipeline.geometry.layout import Level, MapLayout
from pipeline.geometry.points import Grid, Locations
from pipeline.nn.anchors import AnchorGrid
from pipeline.nn.points import centres_and_strides, in_one_row

GRID = Grid((8, 16, 100), ((3, 4), (2, 2), (1, 1)), (2, 1, 3))


def test_centres_and_strides_are_those_of_the_grid() -> None:
    centres, strides = centres_and_strides(GRID)
    assert (centres.dtype, strides.dtype) == (torch.float32, torch.float32)
    assert centres.tolist() == GRID.centres().tolist()
    assert strides.tolist() == [GRID.strides[level] for level in GRID.levels()]


def test_outputs_of_convolutions_stand_in_the_order_of_the_locations() -> None:
    """A value of a map says its image, level, y, x, anchor and which value of the prediction it is."""
    maps = []
    for level, ((high, wide), anchors) in enumerate(zip(GRID.cells, GRID.per_cell, strict=True)):
        parts = (torch.arange(count) for count in (2, anchors, 5, high, wide))
        image, anchor, value, y, x = torch.meshgrid(*parts, indexing="ij")
        number = ((((image * 10 + level) * 10 + y) * 10 + x) * 10 + anchor) * 10 + value
        maps.append(number.flatten(1, 2).double())
    row = in_one_row(maps, GRID.per_cell)
    assert row.shape == (2, len(GRID), 5) and row.dtype == torch.float32
    places = GRID.places(torch.arange(len(GRID)).numpy())
    wanted = ((places.level * 10 + places.y) * 10 + places.x) * 10 + places.anchor
    assert row[0, :, 3].tolist() == (wanted * 10 + 3).tolist()
    assert (row[1] - row[0]).unique().tolist() == [1e5]


def test_anchors_lie_at_the_locations_of_their_index() -> None:
    layout = MapLayout((Level(8, 4), Level(16, 4)))
    anchors = AnchorGrid(16, (0.5, 1.0, 2.0), (1.0, 2.0), layout)
    grid = Locations(layout, (anchors.per_location,) * 2).of(40, 56)
    boxes = anchors.exact(grid.cells)
    torch.testing.assert_close((boxes[:, :2] + boxes[:, 2:]) / 2, torch.from_numpy(grid.centres()))
