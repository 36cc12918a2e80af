"""Where the head predicts: at every anchor of every cell of the trunk's maps. No torch.

Shapes: Fh, Fw feature map height, width of a level; A anchors of a cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.geometry.anchors import AnchorPlacement, Floats, first_location, grid_shapes, level_shapes, level_steps
from pipeline.geometry.layout import MapLayout
from pipeline.geometry.points import Grid, Locations, on_grid
from pipeline.params.reading import Params

Steps = tuple[tuple[int, int], ...]


def locations(trunk: MapLayout, params: Params) -> Locations:
    """As many predictions per cell as it has anchors, on each of the trunk's levels."""
    own = params.anchors
    return Locations(trunk, (len(own.ratios) * len(own.scales),) * len(trunk.levels))


def steps_of(layout: MapLayout, size: tuple[int, int], placement: AnchorPlacement) -> Steps:
    """Pixels from one cell's anchors to the next below and at the right, on each level of an image of (H, W) `size`, as
    the trunk pads it, whatever batch it is in."""
    down, right = zip(*layout.sizes(*size), strict=True)
    return tuple(
        (level_steps(layout, down, level, placement), level_steps(layout, right, level, placement))
        for level in range(len(layout.levels))
    )


@dataclass(frozen=True)
class LevelAnchors:
    """The anchors of a level, px, put on a grid (`pipeline.geometry.points.on_grid`).

    Attributes:
        low_x, high_x: (Fw, A) left and right edges. low_y, high_y: (Fh, A) upper and lower ones. areas: (A,).
    """

    low_x: Floats
    high_x: Floats
    low_y: Floats
    high_y: Floats
    areas: Floats


def anchors_on_grid(layout: MapLayout, grid: Grid, size: tuple[int, int], params: Params) -> list[LevelAnchors]:
    """The anchors at the locations of an image of (H, W) `size`, level by level."""
    own, found = params.anchors, []
    shapes, first = grid_shapes(own.base_size, own.ratios, own.scales), first_location(own.placement)
    levels = zip(layout.scales, grid.cells, steps_of(layout, size, own.placement), strict=True)
    for scale, cells, steps in levels:
        # Half a side on the grid; centres of cells are: a mirrored cell has the mirrored anchors.
        halves = on_grid(level_shapes(shapes, scale, own.placement, own.whole_sizes) / 2)
        (low_y, high_y), (low_x, high_x) = (
            _edges((np.arange(count) + first) * step, half)
            for count, step, half in zip(cells, steps, halves.T[::-1], strict=True)
        )
        found.append(LevelAnchors(low_x, high_x, low_y, high_y, 4 * halves.prod(axis=1)))
    return found


def _edges(centres: npt.NDArray[np.floating], half: Floats) -> tuple[Floats, Floats]:
    return centres[:, None] - half, centres[:, None] + half
